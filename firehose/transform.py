"""The function between source and destination: Firehose's record contract with Lambda.

Event:   {invocationId, deliveryStreamArn, region, sourceKinesisStreamArn (Kinesis sources only),
          records: [{recordId, approximateArrivalTimestamp, data: base64, kinesisRecordMetadata: {…}}]}
Answer:  {records: [{recordId, result: Ok | Dropped | ProcessingFailed, data: base64, metadata: {partitionKeys: {…}}}]}

Behind a Kafka topic the event has sourceMSKArn, its records kafkaRecordValue and mskRecordMetadata: {offset, partitionId,
approximateArrivalTimestamp}, and so has the answer kafkaRecordValue in the place of data.

Every recordId comes back exactly once. A call that fails is made again, under a new invocationId, as often as the
processor's NumberOfRetries says; then all of its records fail. Records that are missing from an answer, or in it twice,
fail alone. What AWS leaves open: an answer's record that nobody sent is passed over.
"""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from connectors.functions import errors as functions
from connectors.functions.errors import FunctionError
from firehose.errors import PROCESSING, Fault, shortened
from firehose.processors import FunctionCall
from streams.core import sequence
from streams.core.records import Records
from streams.core.shards import Shard

log = logging.getLogger(__name__)

Invoke = Callable[[str, bytes], Awaitable[bytes]]
"""A function's ARN and an event as JSON → its answer as JSON; raises `FunctionError`."""

RECORDS_MAX = 10_000
"""Records of one event: their envelopes (about 350 bytes each with a Kinesis source) stay within Lambda's 6 MB even
where the records themselves are tiny."""

RECORD_SIZE_MAX = 6 << 20
"""Bytes of a record of a topic that a function may get: larger ones go to the error output, as on AWS."""

TOO_LARGE = f"The record is larger than the {RECORD_SIZE_MAX >> 20} MB that a function may get."

_ENVELOPE_SIZE = 400
_EVENT_SIZE_MAX = 6 << 20

FORMAT = (
    "Check your function and make sure the output is in required format. In addition to that, make sure the processed "
    "records contain valid result status of Dropped, Ok, or ProcessingFailed"
)
MISSING = "One or more record Ids were not returned. Ensure that the Lambda function returns all received record Ids."
DUPLICATED = (
    "Multiple records were returned with the same record Id. Ensure that the Lambda function returns unique record Ids "
    "for each record."
)
FAILED = "ProcessingFailed status set for record"

_CODES: dict[type[FunctionError], str] = {
    functions.FunctionUnknown: "Lambda.ResourceNotFound",
    functions.FunctionTimedOut: "Lambda.FunctionTimedOut",
    functions.TooManyCalls: "Lambda.InvokeLimitExceeded",
}


class _Metadata(msgspec.Struct, gc=False):
    shard: str = msgspec.field(name="shardId")
    partition_key: str = msgspec.field(name="partitionKey")
    arrival_ms: int = msgspec.field(name="approximateArrivalTimestamp")
    sequence_number: str = msgspec.field(name="sequenceNumber")
    sub_sequence_number: str = msgspec.field(name="subsequenceNumber")


class _Record(msgspec.Struct, gc=False, omit_defaults=True):
    id: str = msgspec.field(name="recordId")
    arrival_ms: int = msgspec.field(name="approximateArrivalTimestamp")
    data: bytes
    metadata: _Metadata | None = msgspec.field(name="kinesisRecordMetadata", default=None)


class _TopicMetadata(msgspec.Struct, gc=False):
    offset: str
    partition: str = msgspec.field(name="partitionId")
    arrival_ms: int = msgspec.field(name="approximateArrivalTimestamp")


class _TopicRecord(msgspec.Struct, gc=False):
    id: str = msgspec.field(name="recordId")
    arrival_ms: int = msgspec.field(name="approximateArrivalTimestamp")
    metadata: _TopicMetadata = msgspec.field(name="mskRecordMetadata")
    data: bytes = msgspec.field(name="kafkaRecordValue")


_Sent = list[_Record | _TopicRecord]


class _Event(msgspec.Struct, omit_defaults=True):
    invocation_id: str = msgspec.field(name="invocationId")
    stream_arn: str = msgspec.field(name="deliveryStreamArn")
    region: str
    records: _Sent
    source_arn: str | None = msgspec.field(name="sourceKinesisStreamArn", default=None)
    topic_arn: str | None = msgspec.field(name="sourceMSKArn", default=None)


class _AnswerMetadata(msgspec.Struct, gc=False):
    partition_keys: dict[str, Any] | None = msgspec.field(name="partitionKeys", default=None)


class _AnswerRecord(msgspec.Struct, gc=False):
    id: str = msgspec.field(name="recordId")
    result: str = ""
    data: bytes | None = None
    metadata: _AnswerMetadata | None = None
    error: str = msgspec.field(name="errorMessage", default="")
    value: bytes | None = msgspec.field(name="kafkaRecordValue", default=None)


class _Answer(msgspec.Struct):
    records: list[_AnswerRecord]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Answer).decode


@dataclass(slots=True)
class Transformed:
    """What became of a batch: `data` and `keys` (the record's partition keys) of the records at `index` that go on,
    the indices of those that were dropped, and the faults of the rest."""

    data: list[bytes] = field(default_factory=list)
    index: list[int] = field(default_factory=list)
    keys: list[dict[str, Any] | None] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def record_ids(shard: Shard, offsets: Sequence[int], subs: Sequence[int] | None = None) -> list[str]:
    """What PutRecord answers and the function sees: a record's place in the source, in the form of AWS's. `subs` are the
    places in source records that were taken apart."""
    base = sequence.base(shard.created_ms // 1000, shard.index, 0)
    places = zip(offsets, subs or itertools.repeat(0), strict=False)
    return [f"{base + (offset + 1 << 80)}{sub:06d}" for offset, sub in places]


class Transform:
    """Calls one function for one delivery stream. `source_arn` is None for direct put, and that of the cluster for a `topic`.
    `lenient` is what emulators do: an answer without a result is Ok, and records of a direct put have Kinesis metadata too."""

    def __init__(
        self,
        invoke: Invoke,
        call: FunctionCall,
        *,
        stream_arn: str,
        region: str,
        source_arn: str | None,
        topic: bool = False,
        lenient: bool = False,
    ) -> None:
        self._invoke = invoke
        self._call = call
        self._stream_arn = stream_arn
        self._region = region
        self._source_arn = source_arn
        self._topic = topic
        self._lenient = lenient

    def too_large(self, records: Records) -> np.ndarray:
        """Places of those that the function cannot get."""
        if not self._topic:
            return np.zeros(0, np.int64)
        return np.flatnonzero(_sizes(records) > RECORD_SIZE_MAX)

    def slices(self, records: Records) -> list[tuple[int, int]]:
        """[first, next) of each call: as many records as the processor's BufferSizeInMBs and Lambda's limit allow."""
        sizes = _sizes(records)
        sent = np.cumsum(4 * sizes.astype(np.int64) // 3 + _ENVELOPE_SIZE)
        raw = np.cumsum(sizes, dtype=np.int64)
        slices, first = [], 0
        while first < len(records):
            before = (int(raw[first - 1]), int(sent[first - 1])) if first else (0, 0)
            by_size = int(np.searchsorted(raw, before[0] + self._call.size_max, "right"))
            by_event = int(np.searchsorted(sent, before[1] + _EVENT_SIZE_MAX - _ENVELOPE_SIZE, "right"))
            following = max(first + 1, min(by_size, by_event, first + RECORDS_MAX))
            slices.append((first, following))
            first = following
        return slices

    async def run(
        self, shard: Shard, offsets: np.ndarray, subs: np.ndarray | None, records: Records, first: int
    ) -> Transformed:
        """One call's worth; indices begin at `first`."""
        sent = self._records(shard, offsets, subs, records)
        attempts = 0
        while True:
            attempts += 1
            source, topic = (None, self._source_arn) if self._topic else (self._source_arn, None)
            event = _Event(str(uuid.uuid4()), self._stream_arn, self._region, sent, source, topic)
            try:
                reply = await self._invoke(self._call.arn, _encode(event))
                answer = _decoded(reply, topic=self._topic, lenient=self._lenient)
            except FunctionError as error:
                code, message = _CODES.get(type(error), "Lambda.FunctionError"), error.message
            except msgspec.DecodeError as error:
                code, message = "Lambda.FunctionError", f"{FORMAT} ({error})"
            else:
                return _matched(sent, answer, first, attempts)
            message = shortened(message)
            log.warning("%s: call %d of function %s failed: %s", self._stream_arn, attempts, self._call.name, message)
            if attempts > self._call.retries:
                faults = [Fault(first + i, PROCESSING, code, message, attempts) for i in range(len(sent))]
                return Transformed(faults=faults)

    def _records(self, shard: Shard, offsets: np.ndarray, subs: np.ndarray | None, records: Records) -> _Sent:
        data, arrivals = records.data.to_pylist(), records.arrival_ms().tolist()
        places = None if subs is None else subs.tolist()
        ids = record_ids(shard, offsets.tolist(), places)
        if self._topic:
            return [
                _TopicRecord(identity, arrival, _TopicMetadata(str(offset), str(shard.index), arrival), content)
                for identity, arrival, content, offset in zip(ids, arrivals, data, offsets.tolist(), strict=True)
            ]
        if self._source_arn is None and not self._lenient:
            return [_Record(*fields) for fields in zip(ids, arrivals, data, strict=True)]
        keys = records.partition_key.to_pylist()
        return [
            _Record(
                identity,
                arrival,
                content,
                _Metadata(
                    *(shard.id, key, arrival),
                    str(sequence.of_record(shard.created_ms, shard.index, offset, arrival)),
                    "" if places is None else str(places[place]),
                ),
            )
            for place, (identity, arrival, content, key, offset) in enumerate(
                zip(ids, arrivals, data, keys, offsets.tolist(), strict=True)
            )
        ]


def _decoded(answer: bytes, *, topic: bool, lenient: bool) -> list[_AnswerRecord]:
    """Raises `msgspec.DecodeError` for whatever is not an answer."""
    records = _decode(answer).records
    for record in records:
        if topic and record.value is not None:
            record.data = record.value
        if lenient and not record.result:
            record.result = "Ok"
        if record.result not in ("Ok", "Dropped", "ProcessingFailed"):
            raise msgspec.ValidationError(f"result {record.result!r} of record {record.id}")
        if record.result == "Ok" and record.data is None:
            raise msgspec.ValidationError(f"no data of record {record.id}")
    return records


def _matched(sent: _Sent, answer: Sequence[_AnswerRecord], first: int, attempts: int) -> Transformed:
    """The answer's records beside those that were sent."""
    by_id: dict[str, _AnswerRecord] = {}
    twice = set()
    for record in answer:
        if record.id in by_id:
            twice.add(record.id)
        by_id[record.id] = record
    done = Transformed()
    for index, asked in enumerate(sent, first):
        got = by_id.get(asked.id)
        if got is None:
            done.faults.append(Fault(index, PROCESSING, "Lambda.MissingRecordId", MISSING, attempts))
        elif asked.id in twice:
            done.faults.append(Fault(index, PROCESSING, "Lambda.DuplicatedRecordId", DUPLICATED, attempts))
        elif got.result == "Ok":
            assert got.data is not None, "checked while decoding"
            done.data.append(got.data)
            done.index.append(index)
            done.keys.append(None if got.metadata is None else got.metadata.partition_keys)
        elif got.result == "Dropped":
            done.dropped.append(index)
        else:
            done.faults.append(
                Fault(index, PROCESSING, "Lambda.ProcessingFailedStatus", shortened(got.error) or FAILED, attempts)
            )
    return done


def _sizes(records: Records) -> np.ndarray:
    """Bytes of each."""
    if not len(records):
        return np.zeros(0, np.int64)
    return np.diff(np.frombuffer(records.data.buffers()[1], np.int32, len(records) + 1, records.data.offset * 4))


def binary(data: Sequence[bytes]) -> pa.Array:
    return pa.array(data, pa.binary())
