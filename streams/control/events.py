"""What can happen to the catalog. Each event is one record of the control journal; the state is what they add up to.

    record    = version json
    version   = %x01                      ; of the encoding, one byte
    json      = { "type": NAME, … }       ; an event by its tag, a snapshot without one; bytes are base64

A reader refuses a version or an event that it does not know, rather than guess at a state: an older Headrace does not
open the journal of a newer one. Fields may be added with a default.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from streams.control.queue import Position, Queue, QueueAttributes
from streams.control.stream import Stream

_VERSION = b"\x01"


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Happened at `at_ms`, milliseconds since the epoch."""

    at_ms: int


class Founded(Event, frozen=True, kw_only=True):
    """The first event: the key that authenticates iterators and paging tokens."""

    key: bytes


class StreamCreated(Event, frozen=True, kw_only=True):
    """Becomes ACTIVE at `active_ms`. Its shards divide the hash key space evenly."""

    account: str
    region: str
    name: str
    id: str
    shards: int
    active_ms: int
    on_demand: bool = False
    retention_hours: int = 24
    record_size_max_kib: int = 1024
    warm_mibps: int | None = None
    distribution: str = "USER_PARTITION_KEY"
    tags: dict[str, str] = {}


class StreamDeleted(Event, frozen=True, kw_only=True):
    """DELETING until `gone_ms`."""

    id: str
    gone_ms: int


class StreamGone(Event, frozen=True, kw_only=True):
    """Nothing of it is left."""

    id: str


class ShardSplit(Event, frozen=True, kw_only=True):
    """`shard` ends at the offset `end`; two children divide its range at `first_key` of the upper one."""

    id: str
    shard: int
    end: int
    first_key: bytes
    active_ms: int


class ShardsMerged(Event, frozen=True, kw_only=True):
    """`shard` and `adjacent` end at the offsets `end` and `adjacent_end`; one child has their ranges."""

    id: str
    shard: int
    end: int
    adjacent: int
    adjacent_end: int
    active_ms: int


class ShardsHeld(Event, frozen=True, kw_only=True):
    """The process `by` is about to split or merge shards of the stream `id`: until that has happened, or `until_ms`, nothing
    that others append to it now is acknowledged."""

    id: str
    by: str
    until_ms: int


class ShardsReleased(Event, frozen=True, kw_only=True):
    """Nothing came of it."""

    id: str


class ShardsExpired(Event, frozen=True, kw_only=True):
    """Closed shards whose records have all aged out."""

    id: str
    shards: tuple[int, ...]


class StreamChanged(Event, frozen=True, kw_only=True):
    """Settings of a stream are other ones from now on; what is None stays. UPDATING until `active_ms`.

    `tags` and `metrics` (of enhanced monitoring) are whole, `key_id` is empty for no encryption, `warm_mibps` negative
    for none.
    """

    id: str
    active_ms: int = 0
    retention_hours: int | None = None
    record_size_max_kib: int | None = None
    on_demand: bool | None = None
    distribution: str | None = None
    warm_mibps: int | None = None
    key_id: str | None = None
    metrics: tuple[str, ...] | None = None
    tags: dict[str, str] | None = None


class ConsumerRegistered(Event, frozen=True, kw_only=True):
    """An enhanced fan-out consumer of the stream `id`. Becomes ACTIVE at `active_ms`."""

    id: str
    name: str
    active_ms: int
    tags: dict[str, str] = {}


class ConsumerTagged(Event, frozen=True, kw_only=True):
    """`tags` are all that it has."""

    id: str
    name: str
    tags: dict[str, str]


class ConsumerDeregistered(Event, frozen=True, kw_only=True):
    """DELETING until `gone_ms`."""

    id: str
    name: str
    gone_ms: int


class ConsumerGone(Event, frozen=True, kw_only=True):
    id: str
    name: str


class QueueCreated(Event, frozen=True, kw_only=True):
    """A queue over the stream of the id `stream`. Becomes ACTIVE at `active_ms`; the other fields as in `Queue`."""

    account: str
    region: str
    name: str
    id: str
    stream: str
    position: Position
    start_ms: int
    starts: dict[int, int]
    attributes: QueueAttributes
    active_ms: int
    tags: dict[str, str] = {}

    def queue(self, stream: Stream) -> Queue:
        """The queue that it makes."""
        return Queue(
            account=self.account,
            region=self.region,
            name=self.name,
            id=self.id,
            created_ms=self.at_ms,
            stream_id=stream.id,
            stream_name=stream.name,
            position=self.position,
            start_ms=self.start_ms,
            starts=self.starts,
            attributes=self.attributes,
            busy_ms=self.active_ms,
            tags=self.tags,
        )


class QueueChanged(Event, frozen=True, kw_only=True):
    """What is None stays; `tags` are whole. UPDATING until `active_ms`."""

    id: str
    attributes: QueueAttributes | None = None
    tags: dict[str, str] | None = None
    active_ms: int = 0


class QueueDeleted(Event, frozen=True, kw_only=True):
    """DELETING until `gone_ms`."""

    id: str
    gone_ms: int


class QueueGone(Event, frozen=True, kw_only=True):
    """Nothing of it is left."""

    id: str


class PolicyPut(Event, frozen=True, kw_only=True):
    """The resource of this ARN has this policy; none where it is empty."""

    arn: str
    policy: str


class AccountChanged(Event, frozen=True, kw_only=True):
    """The minimum throughput billing commitment of an account in a region has begun, or ended."""

    account: str
    region: str
    committed: bool


AnyEvent = (
    Founded
    | StreamCreated
    | StreamDeleted
    | StreamGone
    | StreamChanged
    | ShardSplit
    | ShardsMerged
    | ShardsExpired
    | ShardsHeld
    | ShardsReleased
    | ConsumerRegistered
    | ConsumerTagged
    | ConsumerDeregistered
    | ConsumerGone
    | QueueCreated
    | QueueChanged
    | QueueDeleted
    | QueueGone
    | PolicyPut
    | AccountChanged
)

_T = TypeVar("_T")
_events = msgspec.json.Decoder(AnyEvent)


def encode(value: msgspec.Struct) -> bytes:
    return _VERSION + msgspec.json.encode(value)


def decode_event(data: bytes) -> AnyEvent:
    return _events.decode(_body(data))


def decode_as(kind: type[_T], data: bytes) -> _T:
    """A snapshot, or another journal's events, in the same dress."""
    return msgspec.json.decode(_body(data), type=kind)


def _body(data: bytes) -> bytes:
    if data[:1] != _VERSION:
        raise ValueError(f"control journal of version {data[:1].hex() or 'none'}; this Headrace reads {_VERSION.hex()}")
    return data[1:]
