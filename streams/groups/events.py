"""What can happen to consumer groups. Each event is one record of their journal. Shards by their index."""

from __future__ import annotations

import msgspec

from streams.control.events import decode_as


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Of the group `group` of the stream of the id `stream`."""

    stream: str
    group: str


class Founded(Event, frozen=True, kw_only=True):
    """The group exists, and begins at `positions`."""

    positions: dict[int, int]


class Leased(Event, frozen=True, kw_only=True):
    """`member` reads `shard`, alone, under the number `generation`, and is to be heard of every `lease_ms`."""

    shard: int
    member: str
    generation: int
    lease_ms: int


class Released(Event, frozen=True, kw_only=True):
    """Nobody reads these."""

    shards: list[int]


class Saved(Event, frozen=True, kw_only=True):
    """The records before `positions` are done. The records up to `intents` are being worked on, as one batch: whoever
    repeats them repeats exactly these."""

    positions: dict[int, int]
    intents: dict[int, int] = {}


class Forgotten(Event, frozen=True, kw_only=True):
    """There is no such group any more."""


class LeaseKept(msgspec.Struct, frozen=True):
    member: str
    generation: int
    lease_ms: int


class GroupKept(msgspec.Struct, frozen=True):
    stream: str
    group: str
    generation: int
    positions: dict[int, int]
    intents: dict[int, int]
    leases: dict[int, LeaseKept]


class Snapshot(msgspec.Struct, frozen=True):
    """The whole state, in place of the events that made it."""

    groups: list[GroupKept]


class _Any(msgspec.Struct, frozen=True):
    """An event in its journal's dress."""

    event: Founded | Leased | Released | Saved | Forgotten


def decode_event(data: bytes) -> Founded | Leased | Released | Saved | Forgotten:
    """Raises `ValueError`."""
    return decode_as(_Any, data).event


def dressed(value: Event | Snapshot) -> msgspec.Struct:
    """What `streams.control.events.encode` writes for it."""
    return value if isinstance(value, Snapshot) else _Any(value)  # type: ignore[arg-type]
