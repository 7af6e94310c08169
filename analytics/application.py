"""`Application`: a program that runs. The driver around the machines: it reads, lets them work, commits, delivers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from analytics import faults
from analytics.ahead import Ahead, Piece
from analytics.compiler import compile_program
from analytics.dialect import TOO_DEEP
from analytics.engine import Engine, Step
from analytics.errors import SqlError, closest
from analytics.explaining import Explained, explain
from analytics.frontier import InputTime
from analytics.inputs import Decoder, Input, Reader, discover_columns
from analytics.operators.work import END
from analytics.outputs import Output, Target, target
from analytics.plan import Plan, StreamPlan
from analytics.processing import Processed, Processor
from analytics.program import ERROR_STREAM, Program, parse
from analytics.references import Reference, load
from analytics.state import Entry, State
from connectors.formats.schema import Column, Decoded
from streams.core.clock import Clock, SystemClock
from streams.core.errors import ValidationError
from streams.core.records import Batch
from streams.sdk.client import Client

BATCH_ROWS_MAX = 100_000
"""Records of one micro-batch: DuckDB is at its full speed from 50,000 rows on, and 100,000 of 1 KB still fit beside
their columns in some hundred megabytes."""
DECODERS = min(4, os.cpu_count() or 1)
"""Threads that read JSON, which is most of the work and needs no lock; beyond four, the rest is what takes the time."""
TICK_MS = 250
"""How long the application waits for records while a window may close without any: the delay that this adds."""
WAIT_MS = 5_000
"""How long it waits where only records make a difference: the time a stop may take."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What one commit did. `frontiers` by input in milliseconds; `behind` counts records known and not read."""

    records: int
    rows: int
    faulty: int
    frontiers: dict[str, int | None]
    behind: int
    open_until_ms: int | None


@dataclass(slots=True)
class _Feed:
    """One input at run time."""

    name: str
    physical: str
    reader: Reader
    decoder: Decoder
    time: InputTime
    processor: Processor | None


@dataclass(frozen=True, slots=True)
class _Now:
    """What is known of an input when a micro-batch begins, so that reading on meanwhile changes nothing."""

    checked_ms: int
    behind: set[str]
    reading: set[str]
    pieces: list[Piece]


class Application:
    """A program with its inputs, reference tables and outputs.

    `path` is the file that keeps its state; with it, rows reach streams and files exactly once through any crash. None:
    everything is in memory, and begins anew with the process. `progress` is told of every commit, before its rows are
    delivered, and `observe` of the rows of every stream, in a thread, without any promise. `generation` and `memory_max`
    are those of `State`. One `run` at a time.
    """

    def __init__(
        self,
        program: str,
        *,
        client: Client,
        inputs: Sequence[Input],
        references: Sequence[Reference] = (),
        outputs: Sequence[Output] = (),
        path: str | None = None,
        clock: Clock | None = None,
        batch_rows: int = BATCH_ROWS_MAX,
        progress: Callable[[Progress], None] | None = None,
        observe: Callable[[str, pa.RecordBatch], None] | None = None,
        generation: int | None = None,
        memory_max: int | None = None,
    ) -> None:
        """Raises `SqlError` where the program does not parse; the rest is checked by `open`."""
        self._program: Program = parse(program)
        self._text = program
        self._client = client
        self._inputs = list(inputs)
        self._references = list(references)
        self._outputs = list(outputs)
        self._path = path
        self._clock = clock or SystemClock()
        self._batch_rows = batch_rows
        self._progress = progress
        self._observe = observe
        self._generation = generation
        self._memory_max = memory_max
        self._stop = asyncio.Event()
        self._plan = Plan((), {}, {}, {})
        self._streams: dict[str, StreamPlan] = {}
        self._state: State | None = None
        self._delivered: list[int] = []
        self._feeds: list[_Feed] = []
        self._targets: dict[int, Target] = {}
        self._polling: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(DECODERS, "application decodes")
        self._ahead = Ahead(self._threads, batch_rows)

    async def open(self) -> Plan:
        """Finds the columns, compiles, and opens the state; nothing runs yet. Raises `SqlError` for a program that does
        not fit its inputs, `ValidationError` for options and files that are wrong."""
        if self._state is None:
            try:
                await self._open()
            except BaseException as error:
                await self.close()
                if isinstance(error, RecursionError):
                    raise SqlError(TOO_DEEP) from None
                raise
        return self._plan

    async def _open(self) -> None:
        columns = {each.name: await self._columns(each) for each in self._inputs}
        tables = {each.name: await asyncio.to_thread(load, each) for each in self._references}
        shapes = {name: [Column(field.name, field.type) for field in table.schema] for name, table in tables.items()}
        found = {each.name for each in self._inputs if each.columns is None}
        self._plan = await asyncio.to_thread(compile_program, self._program, columns, shapes, found)
        self._streams = {**self._plan.streams, ERROR_STREAM: faults.STREAM}
        for output in self._outputs:
            self._check_output(output)
        self._state = await asyncio.to_thread(self._open_state, tables)
        self._targets = {
            number: target(output, number, self._client, self._state.id, self._clock)
            for number, output in self._numbered()
        }
        self._sizes, self._last_id = self._state.sizes(), self._state.last_id()
        for each in self._inputs:
            if each.name in self._plan.inputs:
                await self._open_input(each, columns[each.name])

    async def run(self, *, until_end: bool = False) -> None:
        """Runs until `stop`. With `until_end`, reads what the inputs hold now, closes every window, and returns."""
        await self.open()
        try:
            await self._deliver(self._opened.outbox())
            if until_end:
                await self._run_to_end()
            else:
                await self._run_live()
            await asyncio.to_thread(self._tidy)
        finally:
            if self._polling is not None:
                self._polling.cancel()
                await asyncio.gather(self._polling, return_exceptions=True)
                self._polling = None

    def stop(self) -> None:
        """`run` returns after the micro-batch at hand has been committed and delivered. To go on, open another
        application on the same state."""
        self._stop.set()

    async def close(self) -> None:
        """Closes the state. Windows that are open stay in it."""
        if self._state is not None:
            self._state.close()
            self._state = None
        self._threads.shutdown(cancel_futures=True)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def streams(self) -> dict[str, StreamPlan]:
        """The in-application streams, by name, once it is open."""
        return self._streams

    def explain(self) -> Explained:
        """What it does and keeps, while it is open and does not run."""
        at_ms = {feed.name: feed.time.at_ms for feed in self._feeds}
        return explain(self._plan, self._opened.connection, at_ms, self._engine.open_until_ms)

    @property
    def open_until_ms(self) -> int | None:
        """When the first open window ends; None if none is open."""
        return None if self._state is None else self._engine.open_until_ms

    @property
    def _opened(self) -> State:
        assert self._state is not None, "the application is not open"
        return self._state

    async def _columns(self, input: Input) -> Sequence[Column]:
        columns = input.columns if input.columns is not None else await discover_columns(self._client, input.stream)
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

    def _numbered(self) -> list[tuple[int, Output]]:
        return [(at if output.number is None else output.number, output) for at, output in enumerate(self._outputs)]

    def _check_output(self, output: Output) -> None:
        if output.source is None:
            return
        if output.source not in self._streams:
            near = closest(output.source, self._streams)
            raise SqlError(f"there is no in-application stream {output.source} to put out", suggestion=near)
        names = [column.name for column in self._streams[output.source].columns]
        if output.partition_key is not None and output.partition_key not in names:
            near = closest(output.partition_key, names)
            raise SqlError(f"stream {output.source} has no column {output.partition_key}", suggestion=near)

    def _open_state(self, tables: dict[str, pa.Table]) -> State:
        text = self._text
        if self._generation is not None:
            text += "".join(f"\n-- {each.name} {list(each.columns or ())}" for each in self._inputs)
        state = State(self._path, text, self._generation, self._memory_max)
        Engine.create(self._plan, state.connection)
        for name, relation in self._plan.references.items():
            renamed = tables[name].rename_columns([field.physical for field in relation.fields])
            state.connection.register("loaded", renamed)
            state.connection.execute(f"CREATE TEMP TABLE {relation.physical} AS SELECT * FROM loaded")
            state.connection.unregister("loaded")
        self._engine = Engine(self._plan, state.connection)
        self._engine.recover()
        return state

    async def _open_input(self, input: Input, columns: Sequence[Column]) -> None:
        relation = self._plan.inputs[input.name]
        time = InputTime(input.rule)
        self._opened.load_time(input.name, time)
        if self._generation is None:
            known = self._opened.positions(input.name)
        else:
            description = await self._client.describe_stream(input.stream)
            self._opened.note_source(input.name, description.id)
            known = self._opened.all_positions()
        reader = Reader(self._client, input, known)
        await reader.open()
        decoder = Decoder(input, relation, columns, time, reader.shards)
        self._feeds.append(_Feed(input.name, relation.physical, reader, decoder, time, input.processor))

    async def _run_live(self) -> None:
        stopped = asyncio.create_task(self._stop.wait())
        try:
            while not self._stop.is_set():
                if not await self._read(stopped):
                    break
                await self._work(self._take(None))
        finally:
            stopped.cancel()

    async def _read(self, stopped: asyncio.Task[bool]) -> bool:
        """Waits until there are records, time to look at the clock, or a stop (False)."""
        if len(self._ahead) == 0 or self._polling is not None:
            polling = self._polling or self._start_poll(self._wait_ms())
            await asyncio.wait({polling, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not polling.done():
                return False
            self._polling = None
            polling.result()
        return True

    def _wait_ms(self) -> int:
        return WAIT_MS if self._engine.open_until_ms is None else TICK_MS

    async def _run_to_end(self) -> None:
        ends = [await feed.reader.tips() for feed in self._feeds]
        while not self._stop.is_set():
            if not self._ahead:
                shards = [feed.reader.reading for feed in self._feeds]
                await self._poll(0)
                if not self._ahead and shards == [feed.reader.reading for feed in self._feeds]:
                    break
            await self._work(self._take(ends))
        if not self._stop.is_set():
            await self._work(self._take(ends), end=True)

    def _start_poll(self, wait_ms: int) -> asyncio.Task[None]:
        self._polling = asyncio.create_task(self._poll(wait_ms), name="application reads ahead")
        return self._polling

    async def _poll(self, wait_ms: int) -> None:
        """The next records of all inputs. Returns with the first that come; behind a backlog with as many as a micro-batch
        may have, which costs hardly more than the few of one answer."""
        found = await self._ask(wait_ms)
        while found and not self._ahead.enough and self._backlog:
            found = await self._ask(0)

    @property
    def _backlog(self) -> bool:
        return any(feed.reader.more for feed in self._feeds)

    async def _ask(self, wait_ms: int) -> bool:
        """Asks every input once; whether there was anything."""
        now_ms = self._clock.now_ms()
        if len(self._feeds) == 1:
            found = [await self._feeds[0].reader.poll(now_ms, wait_ms)]
        else:
            found = await self._poll_many(now_ms, wait_ms)
        for number, (feed, batches) in enumerate(zip(self._feeds, found, strict=True)):
            self._ahead.add(number, batches, None if feed.processor is not None else feed.decoder.decode)
        return any(found)

    async def _poll_many(self, now_ms: int, wait_ms: int) -> list[list[Batch]]:
        # Whoever has nothing must not hold up whoever has: first all are asked, then one short wait is shared.
        found = await asyncio.gather(*(feed.reader.poll(now_ms, 0) for feed in self._feeds))
        if any(found) or wait_ms == 0:
            return list(found)
        return list(await asyncio.gather(*(feed.reader.poll(now_ms, min(wait_ms, TICK_MS)) for feed in self._feeds)))

    def _take(self, ends: Sequence[dict[str, int]] | None) -> list[_Now]:
        """At most a micro-batch out of the queue; the rest stays. What lies after `ends` is left for another run."""
        taken: list[list[Piece]] = [[] for _ in self._feeds]
        room = self._batch_rows
        while (piece := self._ahead.take(room)) is not None:
            if ends is not None:
                piece = piece.until(ends[piece.number].get(piece.batch.shard, piece.batch.next))
                if not len(piece.batch):
                    continue
            room -= len(piece.batch)
            taken[piece.number].append(piece)
            self._feeds[piece.number].reader.took(piece.batch)
        result = []
        for number, feed in enumerate(self._feeds):
            waiting = self._ahead.shards(number)
            here = {piece.batch.shard for piece in taken[number]}
            behind, reading = feed.reader.behind | waiting, feed.reader.reading | waiting | here
            result.append(_Now(feed.reader.checked_ms, behind, reading, taken[number]))
        return result

    async def _work(self, inputs: list[_Now], *, end: bool = False) -> None:
        """One micro-batch: computed, committed, delivered. Meanwhile the next records of a backlog are read."""
        # Without a backlog, what is read now would only wait for its turn, and what comes after it too.
        if not end and not self._ahead.enough and not self._stop.is_set() and self._backlog:
            self._start_poll(0)
        processed = await self._process(inputs)
        if processed is None:
            return
        entries = await asyncio.to_thread(self._compute, inputs, processed, end)
        await self._deliver(entries)
        if self._polling is not None:
            polling, self._polling = self._polling, None
            await polling

    async def _process(self, inputs: list[_Now]) -> list[list[Processed | None]] | None:
        """What the functions before the inputs make of the batches; None: the application was stopped meanwhile, and
        nothing has been done."""
        if all(feed.processor is None for feed in self._feeds):
            return [[None] * len(now.pieces) for now in inputs]
        working = asyncio.create_task(self._process_all(inputs))
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            stopped.cancel()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _process_all(self, inputs: list[_Now]) -> list[list[Processed | None]]:
        return list(
            await asyncio.gather(
                *(self._processed(feed, now.pieces) for feed, now in zip(self._feeds, inputs, strict=True))
            )
        )

    async def _processed(self, feed: _Feed, pieces: list[Piece]) -> list[Processed | None]:
        if feed.processor is None:
            return [None] * len(pieces)
        return [await feed.processor.run(each.batch, feed.reader.shards[each.batch.shard]) for each in pieces]

    def _compute(self, inputs: list[_Now], processed: list[list[Processed | None]], end: bool) -> list[Entry]:
        now_ms = self._clock.now_ms()
        tables, faulty, frontiers = {}, [], {}
        for feed, now, made in zip(self._feeds, inputs, processed, strict=True):
            parsed = self._parsed(feed, now.pieces, made)
            rows = [
                feed.decoder.rows(piece.batch, each, now_ms) for piece, each in zip(now.pieces, parsed, strict=True)
            ]
            faulty += [each.faulty for each in rows if len(each.faulty)]
            if rows:
                tables[feed.physical] = pa.concat_tables([each.table for each in rows])
            at = END if end else feed.time.advance(now.checked_ms, now.behind, now.reading)
            if at is not None:
                frontiers[feed.physical] = at
        step = self._engine.step(tables, frontiers, now_ms)
        if end and step.closed_ms is not None:
            for feed in self._feeds:
                feed.time.finish(step.closed_ms)
        faulty += [table for table in step.faulty if len(table)]
        entries = self._encode(step, faulty)
        records = sum(len(piece.batch) for now in inputs for piece in now.pieces)
        if records or entries or step.changes.closed or step.changes.operators:
            times = {feed.name: (dict(feed.reader.taken), feed.time) for feed in self._feeds}
            self._opened.commit(step.changes, times, entries, self._delivered)
            self._engine.applied(step.changes)
            self._delivered = []
            self._show(step, faulty)
            self._report(step, records, sum(len(table) for table in faulty), inputs)
        return entries

    def _parsed(self, feed: _Feed, pieces: list[Piece], made: list[Processed | None]) -> list[Decoded]:
        """The columns of pieces, which other threads have been reading meanwhile, or read now."""
        late = [(piece.batch, each) for piece, each in zip(pieces, made, strict=True) if piece.decoding is None]
        found = self._threads.map(lambda each: feed.decoder.parse(*each), late)
        return [next(found) if piece.decoding is None else piece.decoding.result()[piece.place] for piece in pieces]

    def _show(self, step: Step, faulty: list[pa.Table]) -> None:
        if self._observe is None:
            return
        for name, stream in self._streams.items():
            rows = step.rows.get(stream.physical)
            if name == ERROR_STREAM and faulty:
                rows = pa.concat_tables(faulty)
            if rows is not None:
                for batch in _named(rows, stream):
                    self._observe(name, batch)

    def _report(self, step: Step, records: int, faulty: int, inputs: list[_Now]) -> None:
        if self._progress is None:
            return
        made = sum(len(step.rows.get(stream.physical, ())) for stream in self._plan.streams.values())
        self._progress(
            Progress(
                records,
                made,
                faulty,
                {feed.name: feed.time.at_ms for feed in self._feeds},
                sum(feed.reader.backlog for feed in self._feeds),
                self._engine.open_until_ms,
            )
        )

    def _encode(self, step: Step, faulty: list[pa.Table]) -> list[Entry]:
        rows = dict(step.rows)
        if faulty:
            rows[ERROR_STREAM] = pa.concat_tables(faulty)
        entries = []
        for number, output in self._numbered():
            for name, stream in self._streams.items():
                if output.source in (None, name) and stream.physical in rows:
                    at = self._sizes.get(number, 0)
                    for batch in _named(rows[stream.physical], stream):
                        self._last_id += 1
                        data = self._targets[number].encode(name, batch, at)
                        entries.append(Entry(self._last_id, number, at, data))
                        at += len(data)
                    self._sizes[number] = at
        return entries

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.output in self._targets:  # else the output has been taken away, and nobody waits for its rows
                await self._targets[entry.output].deliver(entry)
            self._delivered.append(entry.id)

    def _tidy(self) -> None:
        """Forgets deliveries that have been made, so that the next start does not repeat them."""
        if self._delivered:
            self._opened.forget(self._delivered)
            self._delivered = []


def _named(rows: pa.Table, stream: StreamPlan) -> list[pa.RecordBatch]:
    """Rows as the program declares them, ROWTIME first."""
    fields = [("ROWTIME", pa.timestamp("ms")), *((column.name, column.type.arrow) for column in stream.columns)]
    order = ["rt", *(f"c{number}" for number in range(len(stream.columns)))]
    arrays = [rows.column(name).cast(kind) for name, (_, kind) in zip(order, fields, strict=True)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields)).combine_chunks().to_batches()
