"""The journal of deliveries: events as msgpack maps with their kind under ``event``, and the snapshot of them all.

    Created      a delivery stream exists, with the positions that it starts from
    Updated      its destination is another, under the next version
    Tagged       its tags are these
    EncryptionSet   server-side encryption was started or stopped
    BackedUp     from where it has come to, a copy of the original records is kept
    Deleting     it takes no more records and delivers nothing more
    Deleted      it is gone
    Planned      these objects, staged on disk byte for byte, cover these offsets; again under the same id where a request
                 was given up, and its records go to the error output instead
    Delivered    the objects of a plan are in the store: their offsets are settled; those of objects whose staged bytes
                 were lost before they appeared are read again
    Lost         the source's retention ended before these offsets were read
    Passed       these offsets of a Kafka topic hold no record, and never will
    Rebased      the source is another stream under the same name: positions begin anew
    SchemaTaken   its rows have the columns of another version of the table
    DatabaseCreated, DatabaseUpdated, DatabaseDeleted, TableCreated, TableUpdated, TableDeleted, TableVersionsDeleted
                 the schemas that format conversion refers to

An unknown kind or a field that does not fit stops the start with an error: a newer version wrote it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from connectors.delivered.contract import Layout
from firehose.ledger import Coverage

MAIN, BACKUP = "main", "backup"
"""The lanes of a delivery stream: see `firehose.stream`."""

DIRECT_PUT, KINESIS, MSK = "DirectPut", "KinesisStreamAsSource", "MSKAsSource"
"""Where records come from, AWS's DeliveryStreamType."""

EXTENDED_S3, HTTP_ENDPOINT = "ExtendedS3", "HttpEndpoint"
"""Types of destination, as AWS's members spell them."""


class StagedObject(msgspec.Struct, frozen=True):
    """One object of a plan: where it goes, the staged file that holds its bytes, and the records that are in it.
    `encoding` is its Content-Encoding, where it has one. A `request` goes to the stream's HTTP endpoint instead: its key is
    the request's id. `sha256` is of its bytes, `oldest_ms` and `newest_ms` are arrivals of its records, `version` is the
    configuration that it was made under; `layout` says how records lie in it, where they are as the source had them."""

    bucket: str
    key: str
    staged: str
    size: int
    records: int
    coverage: tuple[Coverage, ...]
    encoding: str | None = None
    request: bool = False
    sha256: str = ""
    oldest_ms: int = 0
    newest_ms: int = 0
    version: str = ""
    layout: Layout | None = None


class Plan(msgspec.Struct, frozen=True):
    """What one delivery settles: its objects appear, then their coverage counts, never the one without the other.
    `dropped` is settled along with them. `splits` says how records came apart: see `Updated`."""

    id: str
    objects: tuple[StagedObject, ...]
    dropped: tuple[Coverage, ...]
    splits: int = 0


class ColumnSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A table's column as Glue keeps it: a name and a Hive type. `evolved`: it came by schema drift."""

    name: str
    type: str
    evolved: bool = False


class SourceSpec(msgspec.Struct, frozen=True):
    """The stream that is read: its name, the id of its incarnation, and for a Kinesis source its ARN and role. A Kafka topic is
    a stream too: `arn` is that of its cluster, `connectivity` and `from_ms` (ReadFromTimestamp) are as they were asked for."""

    stream: str
    id: str
    arn: str | None = None
    role_arn: str | None = None
    connectivity: str | None = None
    from_ms: int | None = None


class _Event(msgspec.Struct, frozen=True, tag_field="event"):
    pass


class Encryption(msgspec.Struct, frozen=True):
    """Server-side encryption as it was last asked for. A flag: keys are the storage's, see the setting
    `encryption_key`."""

    on: bool
    at_ms: int
    key_type: str | None = None
    key_arn: str | None = None


class Created(_Event, frozen=True):
    """`number` is never used again, so a stream created under an old name shares nothing with its predecessor.
    `destination` is AWS's configuration of the destination type `kind`, with its defaults filled in; `columns` are those of
    the version `table_version` of the table that it names."""

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
    kind: str = EXTENDED_S3
    encryption: Encryption | None = None
    table_version: str = ""


class Updated(_Event, frozen=True):
    """`resplit`: source records are taken apart in another way from here on, so what is settled of parts of them is
    forgotten, and delivered again."""

    number: int
    at_ms: int
    kind: str
    destination: dict[str, Any]
    columns: tuple[ColumnSpec, ...] = ()
    resplit: bool = False
    table_version: str = ""


class Tagged(_Event, frozen=True):
    """`tags` are all of them."""

    number: int
    tags: dict[str, str]


class EncryptionSet(_Event, frozen=True):
    number: int
    encryption: Encryption


class BackedUp(_Event, frozen=True):
    number: int


class SchemaTaken(_Event, frozen=True):
    number: int
    version: str
    columns: tuple[ColumnSpec, ...]


class ColumnsAsked(_Event, frozen=True):
    """Where processes share a log: keys without a column in the table that a delivery stream writes, each with the Hive type
    that its values need. Nothing changes by it: the process that has the data catalog answers. See `evolving`."""

    number: int
    key: str
    found: dict[str, str]


class ColumnsAnswered(_Event, frozen=True):
    """The table has what `key` asked for, as far as a table can."""

    number: int
    key: str


class Deleting(_Event, frozen=True):
    number: int
    at_ms: int


class Deleted(_Event, frozen=True):
    number: int


class Planned(_Event, frozen=True):
    number: int
    plan: Plan
    lane: str = MAIN


class Delivered(_Event, frozen=True):
    """`missing` are the keys of the plan's objects that will never appear."""

    number: int
    plan: str
    missing: tuple[str, ...] = ()
    lane: str = MAIN


class Lost(_Event, frozen=True):
    """Offsets [first, before)."""

    number: int
    shard: str
    before: int
    lane: str = MAIN
    first: int = 0

    @property
    def coverage(self) -> Coverage:
        return Coverage(self.shard, self.first, self.before)


class Passed(_Event, frozen=True):
    number: int
    coverage: tuple[Coverage, ...]
    lane: str = MAIN


class Rebased(_Event, frozen=True):
    number: int
    source: SourceSpec
    positions: dict[str, int]
    lane: str = MAIN


class DatabaseCreated(_Event, frozen=True):
    account: str
    region: str
    name: str
    at_ms: int
    input: dict[str, Any]


class DatabaseUpdated(_Event, frozen=True):
    account: str
    region: str
    name: str
    input: dict[str, Any]


class DatabaseDeleted(_Event, frozen=True):
    """Its tables go along."""

    account: str
    region: str
    name: str


class TableCreated(_Event, frozen=True):
    """`input` is Glue's TableInput, of the first `version` there is; `updated_ms` is when that was made, if not `at_ms`."""

    account: str
    region: str
    database: str
    name: str
    at_ms: int
    input: dict[str, Any]
    version: int = 0
    updated_ms: int | None = None


class TableUpdated(_Event, frozen=True):
    """The next version; unless `archive` it takes the place of the last."""

    account: str
    region: str
    database: str
    name: str
    at_ms: int
    version: int
    input: dict[str, Any]
    archive: bool = True


class TableDeleted(_Event, frozen=True):
    account: str
    region: str
    database: str
    name: str


class TableVersionsDeleted(_Event, frozen=True):
    account: str
    region: str
    database: str
    name: str
    versions: tuple[int, ...]


TableEvent: TypeAlias = (
    DatabaseCreated
    | DatabaseUpdated
    | DatabaseDeleted
    | TableCreated
    | TableUpdated
    | TableDeleted
    | TableVersionsDeleted
)
"""What happens to the data catalog."""

AskingEvent: TypeAlias = ColumnsAsked | ColumnsAnswered

LaneEvent: TypeAlias = Planned | Delivered | Lost | Passed | Rebased
"""What happens to one lane of a delivery stream."""

StreamEvent: TypeAlias = Updated | Tagged | EncryptionSet | BackedUp | SchemaTaken | Deleting | Deleted | LaneEvent
"""What happens to a delivery stream that exists."""

Event: TypeAlias = Created | StreamEvent | TableEvent | AskingEvent


class LaneSnapshot(msgspec.Struct, frozen=True):
    source: SourceSpec
    positions: dict[str, int]
    ahead: tuple[Coverage, ...]
    plans: tuple[Plan, ...]


class StreamSnapshot(msgspec.Struct, frozen=True):
    """One delivery stream: `created` with what updates have changed of it since, and where each lane has come to."""

    created: Created
    source: SourceSpec
    positions: dict[str, int]
    ahead: tuple[Coverage, ...]
    plans: tuple[Plan, ...]
    deleting_ms: int | None
    version: int = 1
    updated_ms: int | None = None
    encryption_changes_ms: tuple[int, ...] = ()
    backup: LaneSnapshot | None = None
    splits: int = 0


class Snapshot(msgspec.Struct, frozen=True):
    next_number: int
    streams: tuple[StreamSnapshot, ...]
    databases: tuple[DatabaseCreated, ...]
    tables: tuple[TableCreated, ...]
    versions: tuple[TableUpdated, ...] = ()


encode = msgspec.msgpack.Encoder().encode
decode_event = msgspec.msgpack.Decoder(Event).decode
decode_snapshot = msgspec.msgpack.Decoder(Snapshot).decode
