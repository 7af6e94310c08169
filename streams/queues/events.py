"""What can happen to the records of a queue. Each event is one record of the queue's journal; the state is what they add
up to.

    record = version messagepack
    version = %x01                 ; of the encoding, one byte
    run    = [shard, first, count] ; records of a shard, by its index, at the offsets [first, first + count)

A reader refuses a version or an event that it does not know. What a queue has to remember of a record ends when it is
acknowledged: the journal's snapshots hold one number per shard, and the records that are out, in runs.
"""

from __future__ import annotations

import msgspec

_VERSION = b"\x01"

Run = tuple[int, int, int]


class Event(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Happened to all records of the runs."""

    runs: list[Run]


class Received(Event, frozen=True, array_like=True, tag="r"):
    """In flight until `until_ms`; for the first time, where an offset is at or above what had been delivered before."""

    at_ms: int
    until_ms: int


class Settled(Event, frozen=True, array_like=True, tag="s"):
    """Acknowledged, or aged out: never delivered again."""


class Postponed(Event, frozen=True, array_like=True, tag="p"):
    """In flight until another time than before."""

    until_ms: int


class Died(Event, frozen=True, array_like=True, tag="d"):
    """Dead letters from now on."""


class Restored(Event, frozen=True, array_like=True, tag="b"):
    """Dead letters no more; their receives are counted from 0 again, and they are visible."""

    at_ms: int


class Passed(Event, frozen=True, array_like=True, tag="n"):
    """These were never delivered and will not be: they aged out, or lie before the queue's start."""


class Lost(Event, frozen=True, array_like=True, tag="l"):
    """A crash has taken these from the log, to the end of each shard: their offsets will be other records."""


AnyEvent = Received | Settled | Postponed | Died | Restored | Passed | Lost


class OutRun(msgspec.Struct, frozen=True, array_like=True):
    """`count` records from `first` on that are out, and stand alike (see `state.Delivery`)."""

    first: int
    count: int
    receives: int
    number: int
    first_ms: int
    until_ms: int
    dead: bool


class ShardSnapshot(msgspec.Struct, frozen=True, array_like=True):
    shard: int
    cursor: int
    out: list[OutRun]


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """The whole state, in place of the events that made it."""

    shards: list[ShardSnapshot]


_encoder = msgspec.msgpack.Encoder()
_events: msgspec.msgpack.Decoder[AnyEvent] = msgspec.msgpack.Decoder(AnyEvent)
_snapshots = msgspec.msgpack.Decoder(Snapshot)


def encode(value: Event | Snapshot) -> bytes:
    return _VERSION + _encoder.encode(value)


def decode_event(data: bytes) -> AnyEvent:
    """Raises `ValueError`."""
    return _events.decode(_body(data))


def decode_snapshot(data: bytes) -> Snapshot:
    """Raises `ValueError`."""
    return _snapshots.decode(_body(data))


def _body(data: bytes) -> bytes:
    if data[:1] != _VERSION:
        raise ValueError(
            f"a queue's journal of version {data[:1].hex() or 'none'}; this Headrace reads {_VERSION.hex()}"
        )
    return data[1:]


def runs_of(places: list[tuple[int, int]]) -> list[Run]:
    """(shard, offset) pairs, in any order, as runs."""
    runs: list[Run] = []
    for shard, offset in sorted(places):
        if runs and runs[-1][0] == shard and runs[-1][1] + runs[-1][2] == offset:
            runs[-1] = (shard, runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((shard, offset, 1))
    return runs
