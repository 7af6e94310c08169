"""The journal of deliveries: events as msgpack maps with their kind under ``event``, and the snapshot of them all.

    Created      a delivery stream exists, with the positions that it starts from
    Deleting     it takes no more records and delivers nothing more
    Deleted      it is gone
    Planned      these objects, staged on disk byte for byte, cover these offsets
    Delivered    the objects of a plan are in the store: their offsets are settled; those of objects whose staged bytes
                 were lost before they appeared are read again
    Lost         the source's retention ended before these offsets were read
    Rebased      the source is another stream under the same name: positions begin anew
    DatabaseCreated, TableCreated   the schemas that format conversion refers to

An unknown kind or a field that does not fit stops the start with an error: a newer version wrote it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from firehose.ledger import Coverage


class StagedObject(msgspec.Struct, frozen=True):
    """One object of a plan: where it goes, the staged file that holds its bytes, and the records that are in it."""

    bucket: str
    key: str
    staged: str
    size: int
    records: int
    coverage: tuple[Coverage, ...]


class Plan(msgspec.Struct, frozen=True):
    """What one delivery settles: its objects appear, then their coverage counts, never the one without the other.
    `dropped` is settled along with them."""

    id: str
    objects: tuple[StagedObject, ...]
    dropped: tuple[Coverage, ...]


class ColumnSpec(msgspec.Struct, frozen=True):
    """A table's column as Glue keeps it: a name and a Hive type."""

    name: str
    type: str


class SourceSpec(msgspec.Struct, frozen=True):
    """The stream that is read: its name, the id of its incarnation, and for a Kinesis source its ARN and role."""

    stream: str
    id: str
    arn: str | None = None
    role_arn: str | None = None


class _Event(msgspec.Struct, frozen=True, tag_field="event"):
    pass


class Created(_Event, frozen=True):
    """`number` is never used again, so a stream created under an old name shares nothing with its predecessor.
    `destination` is AWS's ExtendedS3DestinationConfiguration with its defaults filled in."""

    number: int
    account: str
    region: str
    name: str
    at_ms: int
    type: str
    source: SourceSpec
    positions: dict[str, int]
    destination: dict[str, Any]
    columns: tuple[ColumnSpec, ...] = ()
    tags: dict[str, str] = {}
    throughput_hint_mbs: int | None = None


class Deleting(_Event, frozen=True):
    number: int
    at_ms: int


class Deleted(_Event, frozen=True):
    number: int


class Planned(_Event, frozen=True):
    number: int
    plan: Plan


class Delivered(_Event, frozen=True):
    """`missing` are the keys of the plan's objects that will never appear."""

    number: int
    plan: str
    missing: tuple[str, ...] = ()


class Lost(_Event, frozen=True):
    number: int
    shard: str
    before: int


class Rebased(_Event, frozen=True):
    number: int
    source: SourceSpec
    positions: dict[str, int]


class DatabaseCreated(_Event, frozen=True):
    account: str
    region: str
    name: str
    at_ms: int
    input: dict[str, Any]


class TableCreated(_Event, frozen=True):
    """`input` is Glue's TableInput."""

    account: str
    region: str
    database: str
    name: str
    at_ms: int
    input: dict[str, Any]


StreamEvent: TypeAlias = Deleting | Deleted | Planned | Delivered | Lost | Rebased
"""What happens to a delivery stream that exists."""

Event: TypeAlias = Created | StreamEvent | DatabaseCreated | TableCreated


class StreamSnapshot(msgspec.Struct, frozen=True):
    """One delivery stream: how it was created, and what has happened since."""

    created: Created
    source: SourceSpec
    positions: dict[str, int]
    ahead: tuple[Coverage, ...]
    plans: tuple[Plan, ...]
    deleting_ms: int | None


class Snapshot(msgspec.Struct, frozen=True):
    next_number: int
    streams: tuple[StreamSnapshot, ...]
    databases: tuple[DatabaseCreated, ...]
    tables: tuple[TableCreated, ...]


encode = msgspec.msgpack.Encoder().encode
decode_event = msgspec.msgpack.Decoder(Event).decode
decode_snapshot = msgspec.msgpack.Decoder(Snapshot).decode
