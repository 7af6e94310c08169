"""What a put may hold, and what becomes of streams that are damaged or made to hurt: a sentence, always."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.app import App
from streams.core.errors import InvalidArgument
from streams.core.records import HASH_KEY, Records
from streams.core.settings import Settings
from streams.sdk.connections import Place, Pool
from streams.sdk.http import HttpClient
from streams.wire import arrow, native

KEYS = pa.array(["a", "bb", "ccc", "ü€", "k" * 20])
DATA = pa.array([b"", b"x", b"yy" * 30, b"\xff\x00", b"z"], pa.binary())
HASHES = pa.array([b"h" * 16, None, b"i" * 16, None, b"\x00" * 16], HASH_KEY)


def ipc(columns: dict[str, Any], compression: str | None = None, parts: int = 1) -> bytes:
    batch = pa.RecordBatch.from_pydict(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        for part in range(parts):
            writer.write_batch(batch.slice(part))
    return sink.getvalue().to_pybytes()


TAKEN: dict[str, dict[str, Any]] = {
    "as Headrace writes": {"partition_key": KEYS, "data": DATA},
    "with hash keys": {"partition_key": KEYS, "data": DATA, "hash_key": HASHES},
    "in another order": {"hash_key": HASHES, "data": DATA, "partition_key": KEYS},
    "large": {"partition_key": KEYS.cast(pa.large_string()), "data": DATA.cast(pa.large_binary())},
    "views": {"partition_key": KEYS.cast(pa.string_view()), "data": DATA.cast(pa.binary_view())},
    "dictionaries": {"partition_key": KEYS.dictionary_encode(), "data": DATA.dictionary_encode()},
    "hash keys of any length of type": {"partition_key": KEYS, "data": DATA, "hash_key": HASHES.cast(pa.binary())},
    "hash keys that are all null": {"partition_key": KEYS, "data": DATA, "hash_key": pa.nulls(5)},
    "what was read comes back": {
        "shard": pa.array(["s"] * 5),
        "partition_key": KEYS,
        "data": DATA,
        "arrival": pa.array([1] * 5, pa.timestamp("ms")),
        "offset": pa.array(range(5)),
    },
}


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.parametrize("parts", [1, 3])
def test_every_way_that_arrow_tools_write_records_is_taken(name: str, parts: int) -> None:
    columns = TAKEN[name]
    records = arrow.read_records(ipc(columns, parts=parts))
    rows = list(zip(KEYS.to_pylist(), DATA.to_pylist(), strict=True))
    expected = [row for part in range(parts) for row in rows[part:]]
    assert list(zip(records.partition_key.to_pylist(), records.data.to_pylist(), strict=True)) == expected
    assert (records.partition_key.type, records.data.type) == (pa.string(), pa.binary())
    if "hash_key" in columns:
        assert records.hash_key is not None
        assert records.hash_key.type == HASH_KEY


def test_text_is_taken_as_data() -> None:
    frame = pl.DataFrame({"partition_key": ["a", "b"], "data": ['{"a": 1}', "{}"]})
    assert arrow.read_records(frame.write_ipc_stream(None).getvalue()).data.to_pylist() == [b'{"a": 1}', b"{}"]


def test_columns_are_views_of_the_body() -> None:
    body = ipc({"partition_key": KEYS, "data": DATA})
    begin = pa.py_buffer(body).address
    records = arrow.read_records(body)
    for column in (records.partition_key, records.data):
        assert all(begin <= buffer.address < begin + len(body) for buffer in column.buffers() if buffer is not None)


def test_an_empty_stream_is_no_record() -> None:
    schema = pa.schema([("partition_key", pa.string()), ("data", pa.binary())])
    assert len(arrow.read_records(b"".join(arrow.write_stream(schema, [])))) == 0


def bomb(kind: str) -> dict[str, Any]:
    """A few MB that stand for many GB."""
    block = "x" * (1 << 20)
    if kind == "dictionary":
        indices = pa.array([0] * 4096, pa.int16())
        return {"partition_key": ["k"] * 4096, "data": pa.DictionaryArray.from_arrays(indices, [block])}
    view = pa.array([block], pa.string_view())
    views = pa.py_buffer(view.buffers()[1].to_pybytes() * 4096)
    return {
        "partition_key": ["k"] * 4096,
        "data": pa.Array.from_buffers(pa.string_view(), 4096, [None, views, view.buffers()[2]]),
    }


REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not an Arrow IPC stream"),
    "JSON": (b'{"records": []}', "not an Arrow IPC stream"),
    "an Arrow file": (b"ARROW1\x00\x00" + ipc({"partition_key": KEYS, "data": DATA}), "not an Arrow IPC stream"),
    "no keys": (ipc({"data": DATA}), "column 'partition_key'; the columns sent are 'data'"),
    "two columns data": (
        b"".join(
            arrow.write_stream(
                pa.schema([("partition_key", pa.string()), ("data", pa.binary()), ("data", pa.binary())]), []
            )
        ),
        "one column 'data'",
    ),
    "a stranger": (ipc({"partition_key": KEYS, "data": DATA, "price": [1] * 5}), "no column 'price'"),
    "null data": (ipc({"partition_key": ["a", "b"], "data": [b"x", None]}), "has 1 null: every record has a data"),
    "null keys": (
        ipc({"partition_key": ["a", None, None], "data": [b""] * 3}),
        "2 nulls: every record has a partition",
    ),
    "null in a dictionary": (
        ipc(
            {
                "partition_key": pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None])),
                "data": [b""] * 2,
            }
        ),
        "nulls?",
    ),
    "numbers": (ipc({"partition_key": [1], "data": [b""]}), "'partition_key' holds int64; it must be text"),
    "numbers as data": (ipc({"partition_key": ["a"], "data": [1.5]}), "'data' holds double; it must be binary or text"),
    "nulls as data": (ipc({"partition_key": ["a"], "data": pa.nulls(1)}), "has 1 null"),
    "nested": (ipc({"partition_key": ["a"], "data": [[b""]]}), "'data' holds list"),
    "runs": (
        ipc({"partition_key": pa.RunEndEncodedArray.from_arrays(pa.array([1]), pa.array(["a"])), "data": [b""]}),
        "'partition_key' holds run_end_encoded",
    ),
    "short hash keys": (ipc({"partition_key": ["a"], "data": [b""], "hash_key": [b"short"]}), "'hash_key'"),
    "wide hash keys": (
        ipc({"partition_key": ["a"], "data": [b""], "hash_key": pa.array([b"w" * 17], pa.binary(17))}),
        "it must be fixed_size_binary",
    ),
    "lz4": (ipc({"partition_key": KEYS, "data": DATA}, "lz4"), "without compression"),
    "zstd in a dictionary": (ipc(TAKEN["dictionaries"], "zstd"), "without compression"),
    "a dictionary that unfolds": (ipc(bomb("dictionary")), "unfolds to 4294967296 bytes"),
    "views that unfold": (ipc(bomb("view")), "unfolds to 4294967296 bytes"),
    "a batch a record": (
        b"".join(
            arrow.write_stream(
                arrow.PUT_SCHEMA,
                [pa.RecordBatch.from_pydict({"partition_key": ["a"], "data": [b""]}, schema=arrow.PUT_SCHEMA)] * 5000,
            )
        ),
        "larger batches",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_records_is_refused_with_a_sentence(name: str) -> None:
    body, sentence = REFUSED[name]
    with pytest.raises(InvalidArgument, match=sentence):
        arrow.read_records(body)


def test_keys_that_are_not_utf8_are_refused() -> None:
    body = ipc({"partition_key": KEYS, "data": DATA})
    with pytest.raises(InvalidArgument, match="partition_key"):
        arrow.read_records(body.replace("ü€".encode(), b"\xff\xfe\xfd\xfc\xfb"))


SEEDS = [ipc(columns, parts=2) for columns in TAKEN.values()] + [
    ipc(TAKEN["dictionaries"], "zstd"),
    ipc(TAKEN["with hash keys"], "lz4"),
]
WORDS = (0, 1, -1, 2, 8, 16, 255, 65536, 2**31 - 1, -(2**31))

Change = tuple[str, int, int]
CHANGES = st.lists(
    st.tuples(st.sampled_from(["flip", "word", "long", "cut", "grow"]), st.integers(0, 4000), st.integers(0, 2**20)),
    min_size=1,
    max_size=6,
)


def mutated(body: bytes, changes: list[Change]) -> bytes:
    """Bits flipped, lengths and offsets made extreme, pieces cut out and put in."""
    out = bytearray(body)
    for kind, where, what in changes:
        at = where % len(out)
        if kind == "flip":
            out[at] ^= 1 << what % 8
        elif kind == "word" and len(out) >= 4:
            struct.pack_into("<i", out, at // 4 * 4 % (len(out) - 3), WORDS[what % len(WORDS)])
        elif kind == "long" and len(out) >= 8:
            struct.pack_into("<q", out, at // 8 * 8 % (len(out) - 7), WORDS[what % len(WORDS)] << what % 33)
        elif kind == "cut" and len(out) > 64:
            del out[at : at + 1 + what % 40]
        elif kind == "grow":
            out[at:at] = what.to_bytes(4, "little") * (what % 5)
    return bytes(out)


@given(seed=st.sampled_from(SEEDS), changes=CHANGES)
@settings(max_examples=2000, deadline=None)
def test_damage_is_refused_or_harmless(seed: bytes, changes: list[Change]) -> None:
    try:
        records = arrow.read_records(mutated(seed, changes))
    except InvalidArgument:
        return
    # What was taken can be read to the last byte, and written again.
    again = arrow.read_records(b"".join(arrow.write_records(records)))
    assert again.partition_key.to_pylist() == records.partition_key.to_pylist()
    assert again.data.to_pylist() == records.data.to_pylist()
    assert len(again) == len(records.data) == len(records.partition_key)


async def test_a_server_lives_through_damaged_puts(tmp_path: Path, seed: int) -> None:
    randomness = random.Random(seed)
    async with await App.start(Settings(port=0, data=str(tmp_path))) as app:
        client = HttpClient(app.url)
        await client.create_stream("orders", 2)
        pool = Pool(Place.of(app.url), 5)
        path = native.stream_path("orders", "records")
        taken = 0
        for _ in range(300):
            kinds = ("flip", "word", "long", "cut", "grow")
            changes = [
                (randomness.choice(kinds), randomness.randrange(4000), randomness.randrange(1 << 20))
                for _ in range(randomness.randint(1, 4))
            ]
            body = mutated(randomness.choice(SEEDS), changes)
            connection = await pool.take()
            head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            answer = await connection.ask(head, [body])
            pool.give(connection)
            if answer.status == 200:
                taken += len(native.read_receipt(answer.body).offset)
            else:
                error = native.read_error(answer.status, answer.body, app.url)
                assert isinstance(error, InvalidArgument), (seed, error)
        pool.close()
        receipt = await client.put("orders", Records.of(["a"] * 10, [b"x"] * 10))
        assert len(receipt.offset) == 10
        assert sum((await client.find("orders", native.parse_start("latest"))).values()) == taken + 10
        await client.close()
