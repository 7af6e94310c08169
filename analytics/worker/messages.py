"""What a server and the process of an application say to each other: frames over a socket, in both directions.

u32 length of the payload, big-endian · the payload, msgpack, with its kind under ``say``

server → process    Run      the application, whole; comes first and once
                    Check, Discover, ReadState   instead of it: questions, each answered once
                    Watch    show rows, or show none
                    Read     write tables into a file, as they are after one commit
                    SetClock the clock is so far ahead of the machine's
                    Stop     come to an end after the micro-batch at hand
                    Kept     the state is safe elsewhere: go on
process → server    Running  it reads
                    Advanced what a commit did
                    Seen     rows of a stream, while somebody watches
                    Keep     the file of the state is whole and at rest: keep it, and say so
                    Failed   it cannot go on: what was wrong
                    Ended    it has come to its end as it was told
                    Checked, Discovered, ReadDone, Tables   the answers
"""

from __future__ import annotations

import struct
from typing import TypeAlias

import msgspec

HEADER = struct.Struct(">I")

FRAME_SIZE_MAX = 64 << 20
"""Bytes of a frame: a sample of records for discovery is the largest that is sent."""


class ColumnSpec(msgspec.Struct, frozen=True):
    """A RecordColumn of the API."""

    name: str
    type: str
    path: str | None = None


class SchemaSpec(msgspec.Struct, frozen=True):
    """An input schema. `row_path` is for JSON, the delimiters are for CSV."""

    columns: tuple[ColumnSpec, ...]
    csv: bool = False
    row_path: str = "$"
    row_delimiter: str = "\n"
    column_delimiter: str = ","


class InputSpec(msgspec.Struct, frozen=True):
    """The stream and the in-application streams that share its shards. `start_ms` None: from its oldest record.
    With `brokers` (an address, kafka://…) it is a topic there.
    `function` is an ARN, as everywhere here; `history` a delivery stream that has delivered of the stream."""

    names: tuple[str, ...]
    stream: str
    schema: SchemaSpec
    start_ms: int | None = None
    arn: str = ""
    direct: bool = False
    function: str | None = None
    history: str | None = None
    brokers: str | None = None


class OutputSpec(msgspec.Struct, frozen=True):
    """To a stream (hidden ones have a slash), a Kafka topic where there are `brokers`, or a function. `number` stays with the
    output for its whole life."""

    number: int
    source: str
    csv: bool = False
    stream: str | None = None
    function: str | None = None
    brokers: str | None = None


class ReferenceSpec(msgspec.Struct, frozen=True):
    name: str
    url: str
    schema: SchemaSpec


class TableSpec(msgspec.Struct, frozen=True):
    """A *stream*, *table* or *reference* table, and the DuckDB types of its columns by name."""

    kind: str
    columns: dict[str, str]


class _Message(msgspec.Struct, frozen=True, tag_field="say"):
    pass


class Run(_Message, frozen=True):
    """`door` is the URL at which the server lets its own processes in; `generation` is that of the state in `path`, which is
    also kept elsewhere where `kept` says so; `scripts`: the code may have functions in Python; `ahead_ms`: as `SetClock`."""

    arn: str
    account: str
    region: str
    code: str
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    references: tuple[ReferenceSpec, ...]
    path: str
    generation: int
    door: str
    memory_max: int
    scripts: bool = True
    kept: bool = False
    ahead_ms: int = 0


class Check(_Message, frozen=True):
    """Whether the code fits its schemas; with no schemas of inputs, whether it parses."""

    code: str
    inputs: dict[str, SchemaSpec]
    references: dict[str, SchemaSpec]
    scripts: bool = True


class Discover(_Message, frozen=True):
    records: list[bytes]


class Watch(_Message, frozen=True):
    on: bool


class Read(_Message, frozen=True):
    """Tables by name, with the columns that are asked for (None: all), into the file `path`: an Arrow stream each, one behind
    the other. `id` comes back with the answer."""

    id: int
    tables: dict[str, list[str] | None]
    path: str


class ReadState(_Message, frozen=True):
    """As `Read`, out of the file `state` of an application that does not run. `tables` None: what there is."""

    state: str
    tables: dict[str, list[str] | None] | None
    path: str = ""


class SetClock(_Message, frozen=True):
    """Milliseconds that the application's clock is ahead of the machine's: not 0 where a test has set it."""

    ahead_ms: int


class Stop(_Message, frozen=True):
    pass


class Kept(_Message, frozen=True):
    pass


class Running(_Message, frozen=True):
    """`streams`: the in-application streams and the names of their columns. `tables`: what queries see, by name."""

    streams: dict[str, list[str]]
    tables: dict[str, TableSpec] = {}


class Advanced(_Message, frozen=True):
    records: int
    rows: int
    faulty: int
    behind: int
    frontier_ms: int | None


class Seen(_Message, frozen=True):
    """`rows` are JSON objects, ROWTIME first."""

    stream: str
    rows: list[bytes]


class Keep(_Message, frozen=True):
    pass


class Failed(_Message, frozen=True):
    """`program`: the fault lies in the code, and not in what is around it."""

    text: str
    program: bool = False


class Ended(_Message, frozen=True):
    pass


class Checked(_Message, frozen=True):
    """`streams` that the code declares, with error_stream."""

    streams: list[str]


class Discovered(_Message, frozen=True):
    """`schema` None: nothing was recognised. `rows` are the first records as text, a value a column."""

    schema: SchemaSpec | None
    rows: list[list[str]]


class ReadDone(_Message, frozen=True):
    """`error`: why the file is not there."""

    id: int
    error: str | None = None


class Tables(_Message, frozen=True):
    """What queries see, by name."""

    tables: dict[str, TableSpec]


Question: TypeAlias = Check | Discover | ReadState
Command: TypeAlias = Run | Question | Watch | Read | SetClock | Stop | Kept
Event: TypeAlias = Running | Advanced | Seen | Keep | Failed | Ended | Checked | Discovered | ReadDone | Tables

_encode = msgspec.msgpack.Encoder().encode
decode_command = msgspec.msgpack.Decoder(Command).decode
decode_event = msgspec.msgpack.Decoder(Event).decode


def frame(message: Command | Event) -> bytes:
    payload = _encode(message)
    return HEADER.pack(len(payload)) + payload
