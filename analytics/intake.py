"""What an application reads: the client of each input, the columns of its records, and its feed once the state is open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

import pyarrow as pa

from analytics import past
from analytics.errors import closest
from analytics.feeds import Feed
from analytics.frontier import InputTime
from analytics.inputs import Decoder, Input, Reader
from analytics.plan import Plan
from analytics.state import State
from connectors.formats.schema import Column
from streams.core.clock import Clock
from streams.core.errors import ValidationError
from streams.sdk.client import Client, Readable


class Intake:
    """Close it. `client` reads the streams; a topic is read by a client of its own, for each of its inputs. Where an input is
    a `known_source`, its positions stay with the stream that it names, and begin anew where that is another one."""

    def __init__(self, inputs: Sequence[Input], client: Client, clock: Clock, *, known_source: bool) -> None:
        self.inputs = list(inputs)
        self._client = client
        self._clock = clock
        self._known_source = known_source
        self._topics: dict[str, Readable] = {}

    async def columns(self) -> dict[str, Sequence[Column]]:
        """Those of each input, by name: declared, or found in its records. Raises `ValidationError`."""
        for each in self.inputs:
            if each.history is not None:
                await each.history.open()
        return {each.name: await self._columns(each) for each in self.inputs}

    async def feeds(self, plan: Plan, state: State, columns: Mapping[str, Sequence[Column]]) -> AsyncIterator[Feed]:
        """One for each input that the plan reads, from where the state has come to."""
        for each in self.inputs:
            if each.name in plan.inputs:
                yield await self._feed(each, plan, state, columns[each.name])

    async def close(self) -> None:
        for each in self.inputs:
            if each.history is not None:
                each.history.close()
        topics, self._topics = self._topics, {}
        for client in topics.values():
            await client.close()

    def _client_of(self, input: Input) -> Readable:
        if input.topic is None:
            return self._client
        if input.name not in self._topics:
            self._topics[input.name] = input.topic.client(self._clock)
        return self._topics[input.name]

    async def _columns(self, input: Input) -> Sequence[Column]:
        columns = input.columns
        if columns is None:
            columns = await past.discover(self._client_of(input), input.stream, input.history)
        if input.columns is None and not columns:
            raise ValidationError(f"stream {input.stream} holds no JSON records to find its columns in: declare them")
        if input.rule.column is not None:
            found = next((column for column in columns if column.name == input.rule.column), None)
            if found is None:
                near = closest(input.rule.column, [column.name for column in columns])
                hint = f"; did you mean {near}?" if near else ""
                raise ValidationError(f"rowtime: stream {input.stream} has no column {input.rule.column}{hint}")
            if not pa.types.is_timestamp(found.type):
                raise ValidationError(f"rowtime: column {found.name} is not a TIMESTAMP but {found.type}")
        return columns

    async def _feed(self, input: Input, plan: Plan, state: State, columns: Sequence[Column]) -> Feed:
        relation = plan.inputs[input.name]
        time = InputTime(input.rule)
        state.load_time(input.name, time)
        if self._known_source:
            description = await self._client_of(input).describe_stream(input.stream)
            state.note_source(input.name, description.id)
            known = state.all_positions()
        else:
            known = state.positions(input.name)
        reader = Reader(past.reaching(self._client_of(input), input.history, known), input, known)
        decoder = Decoder(input, relation, columns, time, reader.shards)
        past.look_for(decoder)
        await reader.open()
        return Feed(input.name, relation.physical, reader, decoder, time, input.processor)
