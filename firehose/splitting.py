"""The first steps of AWS's order, which take records apart: KPL aggregates, decompression, log messages, sub-records.

A record of the source may hold many: a KPL aggregate, or a blob that its producer put together. From here on each is a
record of its own, known by the offset of the record that it came in and its place therein, so that each is in exactly one
object even when they go to different ones. The same bytes always come apart in the same way.

CloudWatch Logs sends gzip'd JSON {messageType, logGroup, logStream, logEvents: [{id, timestamp, message}, …]};
extraction leaves the messages, each with a line feed after it, and nothing of a CONTROL_MESSAGE.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import pyarrow as pa

from firehose.errors import DECOMPRESSION, Fault
from streams.core.errors import InvalidArgument
from streams.core.records import Batch, Records
from streams.core.shards import Shard
from streams.sdk.packing import unpack

SUB_RECORDS_MAX = 500
"""A blob of this many sub-records or more is passed on whole, as on AWS."""

PLAIN_SIZE_MAX = 16 << 20
"""Bytes of a record once decompressed: more than what CloudWatch Logs sends (1 MB compressed, some ten to one), and little
enough that a record which is made to grow a thousandfold does no harm."""

GZIP_MAGIC = b"\x1f\x8b"

_NOT_GZIP = "The record is not in gzip format"
_TOO_LARGE = f"The record has more than {PLAIN_SIZE_MAX >> 20} MB when decompressed"
_NOT_LOGS = "The record does not hold log events of CloudWatch Logs"
_FAILED = "DecompressionFailed"


@dataclass(frozen=True, slots=True)
class Splitting:
    """Which steps a delivery stream takes. `sub_records` is "JSON", "DELIMITED" (by `delimiter`) or None."""

    decompress: bool = False
    extract: bool = False
    sub_records: str | None = None
    delimiter: bytes = b""

    @staticmethod
    def of(processors: Mapping[str, Mapping[str, str]]) -> Splitting:
        """From the parameters of each processor. Raises `InvalidArgument`."""
        sub_records = processors.get("RecordDeAggregation")
        kind = None if sub_records is None else sub_records.get("SubRecordType")
        return Splitting(
            decompress="Decompression" in processors,
            extract=processors.get("CloudWatchLogProcessing", {}).get("DataMessageExtraction", "").lower() == "true",
            sub_records=kind,
            delimiter=_delimiter(sub_records or {}) if kind == "DELIMITED" else b"",
        )

    @property
    def any(self) -> bool:
        return self.decompress or self.extract or self.sub_records is not None


AS_THEY_ARE = Splitting()


@dataclass(slots=True, eq=False)
class Split:
    """Records on their way, the sub-records of one source record side by side.

    offsets  int64: of the source record of each
    subs     int32: its place in its source record; None where every record is one of the source's
    counts   int32: how many there are in its source record
    raw      as the source had them, where decompression has changed them; None where `records` are so
    faults   of some of them, by index
    empty    int64: offsets of source records in which there was nothing
    """

    records: Records
    offsets: np.ndarray
    subs: np.ndarray | None = None
    counts: np.ndarray | None = None
    raw: pa.Array | None = None
    faults: list[Fault] = field(default_factory=list)
    empty: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def parts(self) -> tuple[np.ndarray, np.ndarray] | None:
        """`offsets` and `subs`, where records were taken apart."""
        return None if self.subs is None else (self.offsets, self.subs)

    def original(self, index: int) -> bytes:
        """What stands in the error output, and can be put again."""
        source = self.records.data if self.raw is None else self.raw
        original: bytes = source[index].as_py()
        return original

    def keep(self, mask: np.ndarray) -> Split:
        """Those of which `mask` (bool) says so."""
        if mask.all():
            return self
        kept = np.flatnonzero(mask)
        place = np.cumsum(mask) - 1
        faults = [replace(fault, index=int(place[fault.index])) for fault in self.faults if mask[fault.index]]
        return Split(
            self.records.take(pa.array(kept)),
            self.offsets[kept],
            None if self.subs is None else self.subs[kept],
            None if self.counts is None else self.counts[kept],
            None if self.raw is None else self.raw.take(pa.array(kept)),
            faults,
            self.empty,
        )


def split(shard: Shard, offsets: np.ndarray, records: Records, steps: Splitting, *, aggregates: bool) -> Split:
    """`aggregates`: whether KPL aggregates are looked for, as they are behind a Kinesis stream."""
    place = np.arange(len(records))
    arrivals = records.arrival_ms()
    if aggregates:
        unpacked = unpack(Batch(shard.id, 0, len(records), records), shard.hash_range)
        if unpacked.records is not records:
            records, place = unpacked.records, unpacked.offset
    faults: list[Fault] = []
    raw = None
    if steps.any:
        data, taken, faults = _apart(records.data.to_pylist(), steps)
        chosen = np.array(taken, np.int64)
        if steps.decompress and steps.sub_records is None:
            raw = records.data.take(pa.array(chosen))
        keys = records.partition_key.take(pa.array(chosen))
        records, place = Records(pa.array(data, pa.binary()), keys), place[chosen]
    if len(place) == len(offsets) and np.array_equal(place, np.arange(len(offsets))):
        return Split(records.with_arrival(arrivals), offsets, raw=raw, faults=faults)
    counts = np.bincount(place, minlength=len(offsets)).astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    subs = (np.arange(len(place)) - starts[place]).astype(np.int32)
    return Split(
        records.with_arrival(arrivals[place]), offsets[place], subs, counts[place], raw, faults, offsets[counts == 0]
    )


def _apart(data: Sequence[bytes], steps: Splitting) -> tuple[list[bytes], list[int], list[Fault]]:
    """The parts of all records, for each the index of the record that it is of, and the faults by index of the part."""
    parts: list[bytes] = []
    taken: list[int] = []
    faults: list[Fault] = []
    for index, record in enumerate(data):
        plain = record
        try:
            if steps.decompress:
                plain = _decompressed(plain)
            if steps.extract:
                plain = _messages(plain)
        except ValueError as error:
            faults.append(Fault(len(parts), DECOMPRESSION, _FAILED, str(error)))
            parts.append(record)
            taken.append(index)
            continue
        if steps.extract and not plain:
            continue
        found = [plain] if steps.sub_records is None else _sub_records(plain, steps)
        parts += found
        taken += [index] * len(found)
    return parts, taken, faults


def _decompressed(record: bytes) -> bytes:
    """All members of the gzip file. Raises ValueError."""
    parts, rest, room = [], record, PLAIN_SIZE_MAX
    while rest:
        inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            plain = inflate.decompress(rest, room + 1)
        except zlib.error as error:
            raise ValueError(f"{_NOT_GZIP}: {error}") from error
        room -= len(plain)
        if room < 0:
            raise ValueError(_TOO_LARGE)
        if not inflate.eof:
            raise ValueError(f"{_NOT_GZIP}: it ends too early")
        parts.append(plain)
        rest = inflate.unused_data
    if not parts:
        raise ValueError(f"{_NOT_GZIP}: it is empty")
    return b"".join(parts)


class _LogEvent(msgspec.Struct, gc=False):
    message: str


class _Logs(msgspec.Struct):
    kind: str = msgspec.field(name="messageType")
    events: list[_LogEvent] = msgspec.field(name="logEvents", default_factory=list)


_logs = msgspec.json.Decoder(_Logs).decode


def _messages(record: bytes) -> bytes:
    """Raises ValueError."""
    try:
        logs = _logs(record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{_NOT_LOGS}: {error}") from error
    if logs.kind == "CONTROL_MESSAGE":
        return b""
    return "".join(event.message + "\n" for event in logs.events).encode()


def _sub_records(record: bytes, steps: Splitting) -> list[bytes]:
    if steps.sub_records == "DELIMITED":
        found = record.split(steps.delimiter)
        if not found[-1]:
            found.pop()
    else:
        found = list(_objects(record))
    return found if found and len(found) < SUB_RECORDS_MAX else [record]


_BRACES = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}]', re.DOTALL)


def _objects(record: bytes) -> Iterator[bytes]:
    """JSON objects that stand in a row, with or without white space between them. What is anything else gives nothing:
    the record is passed on as it is."""
    found, depth, first, last = [], 0, 0, 0
    for match in _BRACES.finditer(record):
        token = match.group()
        if token == b"{":
            if depth == 0:
                if record[last : match.start()].strip():
                    return
                first = match.start()
            depth += 1
        elif token == b"}":
            depth -= 1
            if depth < 0:
                return
            if depth == 0:
                last = match.end()
                found.append(record[first:last])
        elif depth == 0:
            return
    if depth == 0 and not record[last:].strip():
        yield from found


def _delimiter(parameters: Mapping[str, str]) -> bytes:
    try:
        delimiter = base64.b64decode(parameters.get("Delimiter", ""), validate=True)
    except binascii.Error as error:
        raise InvalidArgument(f"Delimiter {parameters['Delimiter']} is not base64.") from error
    if not delimiter:
        raise InvalidArgument("Processor RecordDeAggregation needs the parameter Delimiter for DELIMITED, in base64.")
    return delimiter
