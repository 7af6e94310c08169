"""Functions on the way in and on the way out, in Kinesis Data Analytics' record contracts with Lambda.

In:   {invocationId, applicationArn, streamArn, records: [{recordId, data: base64, kinesisStreamRecordMetadata: {…} or
       kinesisFirehoseRecordMetadata: {…}}]} → {records: [{recordId, result: Ok | Dropped | ProcessingFailed, data}]}
Out:  {invocationId, applicationArn, records: [{recordId, lambdaDeliveryRecordMetadata: {retryHint}, data}]}
      → {records: [{recordId, result: Ok | DeliveryFailed}]}

A call that fails is made again, for ever, with pauses that grow; records that were not delivered are sent again alone.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from connectors.functions.errors import FunctionError
from streams.core.clock import Clock
from streams.core.records import Batch
from streams.core.sequence import of_record
from streams.core.shards import Shard
from streams.sdk.retry import pauses

log = logging.getLogger("headrace.analytics")

Invoke = Callable[[str, bytes], Awaitable[bytes]]
"""A function's name and an event as JSON → its answer as JSON; raises `FunctionError`."""

EVENT_SIZE_MAX = 4 << 20
"""Bytes of records of one event: in base64, with what stands beside each, they stay within Lambda's 6 MB."""
RECORDS_MAX = 10_000
"""Records of one event, so that tiny records with large envelopes stay within it too."""
_ENVELOPE_SIZE = 64


class _Answered(msgspec.Struct, gc=False):
    id: str = msgspec.field(name="recordId")
    result: str = ""
    data: bytes | None = None


class _Answer(msgspec.Struct):
    records: list[_Answered]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Answer).decode


@dataclass(frozen=True, slots=True)
class Processed:
    """What a function made of a batch: `data` in place of the records at `source`, and the indices of those that failed.
    Records that are in neither were dropped."""

    data: pa.Array
    source: np.ndarray
    failed: list[int]


class Processor:
    """Calls the function `name` for the records of one input; `direct` where they come from a delivery stream. `retries`
    None: without end."""

    def __init__(
        self,
        invoke: Invoke,
        name: str,
        *,
        application: str,
        stream: str,
        direct: bool,
        clock: Clock,
        retries: int | None = None,
    ) -> None:
        self._retries = retries
        self._invoke = invoke
        self._name = name
        self._application = application
        self._stream = stream
        self._direct = direct
        self._clock = clock

    async def run(self, batch: Batch, shard: Shard) -> Processed:
        """Returns when the function has answered for every record."""
        records = self._records(batch, shard)
        answers: list[_Answered] = []
        for first, following in slices([len(record["data"]) for record in records]):
            answers += await self._call(records[first:following])
        good = [number for number, answer in enumerate(answers) if answer.result == "Ok"]
        return Processed(
            pa.array([answers[number].data or b"" for number in good], pa.binary()),
            np.array(good, np.int64),
            [number for number, answer in enumerate(answers) if answer.result == "ProcessingFailed"],
        )

    def _records(self, batch: Batch, shard: Shard) -> list[dict[str, Any]]:
        records = []
        data, keys = batch.records.data.to_pylist(), batch.records.partition_key.to_pylist()
        for number, arrival_ms in enumerate(batch.records.arrival_ms().tolist()):
            sequence = str(of_record(shard.created_ms, shard.index, batch.first + number, arrival_ms))
            record = {"recordId": f"{sequence}000000", "data": data[number]}
            if self._direct:
                record["kinesisFirehoseRecordMetadata"] = {"approximateArrivalTimestamp": arrival_ms}
            else:
                record["kinesisStreamRecordMetadata"] = {
                    "sequenceNumber": sequence,
                    "partitionKey": keys[number],
                    "shardId": shard.id,
                    "approximateArrivalTimestamp": arrival_ms,
                }
            records.append(record)
        return records

    async def _call(self, records: list[dict[str, Any]]) -> list[_Answered]:
        asked = [record["recordId"] for record in records]

        def check(answer: list[_Answered]) -> list[_Answered]:
            by_id = {one.id: one for one in answer}
            missing = [identity for identity in asked if identity not in by_id]
            if missing or len(by_id) != len(answer):
                raise msgspec.ValidationError(f"{len(missing)} record ids were not returned, or some of them twice")
            for one in answer:
                if one.result not in ("Ok", "Dropped", "ProcessingFailed"):
                    raise msgspec.ValidationError(f"result {one.result!r} of record {one.id}")
            return [by_id[identity] for identity in asked]

        event = {"applicationArn": self._application, "streamArn": self._stream, "records": records}
        return await _until_answered(self._invoke, self._name, event, check, self._clock, self._retries)


async def deliver(
    invoke: Invoke, name: str, application: str, identity: str, data: Sequence[bytes], clock: Clock
) -> None:
    """Gives rows to a function until it has taken all of them. `identity` begins the record ids: a repeat has the same."""
    left, hint = list(range(len(data))), 0
    while left:
        refused: list[int] = []
        for first, following in slices([len(data[number]) for number in left]):
            part = left[first:following]
            records = [
                {
                    "recordId": f"{identity}-{number}",
                    "lambdaDeliveryRecordMetadata": {"retryHint": hint},
                    "data": data[number],
                }
                for number in part
            ]
            event = {"applicationArn": application, "records": records}
            answer = await _until_answered(invoke, name, event, lambda answer: answer, clock)
            taken = {one.id for one in answer if one.result == "Ok"}
            refused += [number for number in part if f"{identity}-{number}" not in taken]
        left, hint = refused, hint + 1
        if left:
            log.warning("%s: function %s did not take %d rows; they are sent again", application, name, len(left))
            await clock.sleep(min(hint, 60))


def slices(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """[first, next) of each call."""
    found, first, size = [], 0, 0
    for number, each in enumerate(sizes):
        size += each + _ENVELOPE_SIZE
        if number > first and (size > EVENT_SIZE_MAX or number - first == RECORDS_MAX):
            found.append((first, number))
            first, size = number, each + _ENVELOPE_SIZE
    return [*found, (first, len(sizes))] if sizes else found


async def _until_answered(
    invoke: Invoke,
    name: str,
    event: dict[str, Any],
    check: Callable[[list[_Answered]], list[_Answered]],
    clock: Clock,
    retries: int | None = None,
) -> list[_Answered]:
    waits = pauses(random.Random())
    for attempt in itertools.count():
        try:
            answer = await invoke(name, _encode({"invocationId": str(uuid.uuid4()), **event}))
            return check(_decode(answer).records)
        except asyncio.CancelledError:
            raise
        except (FunctionError, msgspec.DecodeError) as error:
            if retries is not None and attempt >= retries:
                raise FunctionError(f"function {name}: {error}") from error
            log.warning("%s: function %s failed and is called again: %s", event["applicationArn"], name, error)
        await clock.sleep(next(waits))
    raise AssertionError("unreachable")
