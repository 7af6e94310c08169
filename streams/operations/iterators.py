"""GetShardIterator, and the iterators that it gives out.

iterator = token of purpose "i" (see tokens.py) over
payload  = position issued shard id name
position = 8 bytes, big-endian          ; the offset to read next
issued   = 8 bytes, big-endian          ; milliseconds since 1970
shard    = 4 bytes, big-endian          ; its index
id       = 24 bytes                     ; of the stream
name     = *128 bytes                   ; of the stream
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any, NamedTuple

from streams.control.stream import Stream, StreamShard
from streams.core.errors import DryRunOperation, ExpiredIterator, InvalidArgument
from streams.core.scope import Scope
from streams.core.sequence import SequenceNumber
from streams.core.shards import shard_id
from streams.operations import guard
from streams.operations.addressing import find_shard, readable
from streams.operations.context import Context
from streams.operations.tokens import Tokens

EXPIRY_MS = 300_000
"""AWS's: five minutes from issue."""

DRY_RUN = "Request would have succeeded, but DryRun flag is set."

_PURPOSE = b"i"
_LAYOUT = struct.Struct(">QQI24s")


class ShardIterator(NamedTuple):
    """A position in a shard, as issued at a time."""

    stream_name: str
    stream_id: str
    shard_index: int
    position: int
    issued_ms: int

    def encode(self, tokens: Tokens) -> str:
        payload = _LAYOUT.pack(self.position, self.issued_ms, self.shard_index, self.stream_id.encode())
        return tokens.seal(_PURPOSE, payload + self.stream_name.encode())

    @staticmethod
    def decode(text: str, tokens: Tokens, now_ms: int) -> ShardIterator:
        """Raises `InvalidArgument` for a text that was not issued here, `ExpiredIterator` for an old one."""
        # Shell scripts hand iterators on with the quotes that the CLI printed; AWS takes them.
        payload = tokens.open(_PURPOSE, text.strip('"'))
        if payload is None:
            raise InvalidArgument("Invalid ShardIterator.")
        position, issued_ms, shard_index, stream_id = _LAYOUT.unpack_from(payload)
        if now_ms - issued_ms > EXPIRY_MS:
            raise ExpiredIterator(
                f"Iterator expired. The iterator was created at time {_date(issued_ms)} while right now it is"
                f" {_date(now_ms)} which is further in the future than the tolerated delay of {EXPIRY_MS} milliseconds."
            )
        return ShardIterator(payload[_LAYOUT.size :].decode(), stream_id.decode(), shard_index, position, issued_ms)


async def get_shard_iterator(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    stream = readable(context, request, scope)
    now_ms = context.now_ms()
    shard = find_shard(stream, request.shard_id, now_ms)
    if context.guarded:
        await guard.get_shard_iterator(context, stream, shard)
    start = Place(request.shard_iterator_type, request.starting_sequence_number, request.timestamp)
    position = await position_of(context, "GetShardIterator", start, stream, shard, now_ms)
    if request.dry_run:
        raise DryRunOperation(DRY_RUN)
    iterator = ShardIterator(stream.name, stream.id, shard.index, position, now_ms)
    return {"ShardIterator": iterator.encode(context.tokens)}


class Place(NamedTuple):
    """Where to begin, as GetShardIterator and SubscribeToShard are told: a type, and what that type needs."""

    kind: str
    sequence_number: str | None
    timestamp_s: float | None


async def position_of(
    context: Context, operation: str, place: Place, stream: Stream, shard: StreamShard, now_ms: int
) -> int:
    """The offset to read next. Raises `InvalidArgument`, which names the operation."""
    kind = place.kind
    name = stream.log(shard)
    if kind == "TRIM_HORIZON":
        return await context.log.find(name, stream.horizon_ms(now_ms))
    if kind == "LATEST":
        return (await context.log.bounds(name))[1]
    if kind == "AT_TIMESTAMP":
        if place.timestamp_s is None:
            raise InvalidArgument(
                "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no"
                " timestamp parameter."
            )
        timestamp_ms = round(place.timestamp_s * 1000)
        if timestamp_ms > now_ms:
            raise InvalidArgument(
                "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis."
                f" timestampInMillis: {timestamp_ms}, currentTimestampInMillis: {now_ms}"
            )
        return await context.log.find(name, max(timestamp_ms, stream.horizon_ms(now_ms)))
    index = _parse_sequence_number(place.sequence_number, kind, operation, stream, shard)
    # Index 0 is the shard's start, offset + 1 a record, and the highest number the end of a closed shard.
    offset = max(index - 1, 0) if kind == "AT_SEQUENCE_NUMBER" else index
    return min(offset, (await context.log.bounds(name))[1])


def _parse_sequence_number(text: str | None, kind: str, operation: str, stream: Stream, shard: StreamShard) -> int:
    """The index of a sequence number of this shard."""
    if text is None:
        raise InvalidArgument(
            f"Must specify startingSequenceNumber parameter for iterator of type {kind}. Current request has no"
            " startingSequenceNumber parameter."
        )
    foreign = (
        f"StartingSequenceNumber {text} used in {operation} on shard {shard.id} in stream {stream.name} under"
        f" account {stream.account} is invalid"
    )
    try:
        number = SequenceNumber.parse(text)
    except ValueError:
        raise InvalidArgument(f"{foreign}.") from None
    if number.shard_index != shard.index:
        raise InvalidArgument(
            f"Invalid StartingSequenceNumber. It encodes {shard_id(number.shard_index)}, while it was used in a call to a"
            f" shard with {shard.id}"
        )
    if number.created_s != shard.sequence_ms // 1000 or number.index >> 63:
        raise InvalidArgument(f"{foreign} because it did not come from this stream.")
    return number.index


def _date(time_ms: int) -> str:
    """As Java prints dates: ``Thu Jan 22 01:22:02 UTC 2015``."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%a %b %d %H:%M:%S UTC %Y")
