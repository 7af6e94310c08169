"""pyarrow, polars and pandas tables go in and come out."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.errors import ResourceNotFound, ValidationError
from streams.core.records import Records
from streams.sdk.client import Client
from streams.sdk.producer import Producer
from streams.sdk.tables import BULK_SIZE_MAX, TABLE_SCHEMA, read_table, records_of, split

COLUMNS = {"data": ["eins", "zwei", "drei"], "partition_key": ["a", "b", "a"]}

LIBRARIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pyarrow": pa.table,
    "batch": lambda columns: pa.table(columns).to_batches()[0],
    "reader": lambda columns: pa.table(columns).to_reader(),
    "polars": pl.DataFrame,
    "pandas": pd.DataFrame,
}


async def put(client: Client, table: Any, **options: Any) -> list[tuple[str, bytes]]:
    await client.create_stream("s")
    async with Producer(client, "s") as producer:
        count = await producer.put_batch(table, **options)
    found = await read_table(client, "s")
    assert len(found) == count
    return list(zip(found["partition_key"].to_pylist(), found["data"].to_pylist(), strict=True))


@pytest.mark.parametrize("library", LIBRARIES)
async def test_columns_of_data_and_keys(client: Client, library: str) -> None:
    assert await put(client, LIBRARIES[library](COLUMNS)) == [("a", b"eins"), ("b", b"zwei"), ("a", b"drei")]


@pytest.mark.parametrize("library", LIBRARIES)
async def test_rows_become_json(client: Client, library: str) -> None:
    table = LIBRARIES[library]({"carrier": ["UA", None], "delay": [4.5, float("nan")], "Delay": [1, 2]})
    found = await put(client, table, partition_key="carrier")
    assert [json.loads(data) for _, data in found] == [
        {"carrier": "UA", "delay": 4.5, "Delay": 1},
        {"carrier": None, "delay": None, "Delay": 2},
    ]
    assert found[0][0] == "UA"
    assert found[1][0].isdecimal(), "a null key is a random one"


async def test_json_of_every_type(client: Client) -> None:
    moment = dt.datetime(2026, 1, 31, 23, 59, 59, 123456)
    table = pa.table(
        {
            "int": pa.array([1], pa.int8()),
            "quote\"'": ['a "word"\n'],
            "bool": [True],
            "null": pa.nulls(1),
            "time": [moment],
            "zoned": pa.array([moment], pa.timestamp("us", tz="Europe/Paris")),
            "date": [dt.date(2026, 1, 31)],
            "decimal": [Decimal("1.50")],
            "binary": [b"\x00\xff"],
            "infinite": [float("-inf")],
            "struct": [{"n": float("nan"), "b": b"\x01", "l": [float("inf"), 1.0]}],
            "list": [[{"a": 1}, None]],
            "category": pa.array(["x"]).dictionary_encode(),
        }
    )
    ((_, data),) = await put(client, table)
    assert json.loads(data) == {
        "int": 1,
        "quote\"'": 'a "word"\n',
        "bool": True,
        "null": None,
        "time": "2026-01-31 23:59:59.123456",
        "zoned": "2026-01-31 23:59:59.123456+00",
        "date": "2026-01-31",
        "decimal": 1.5,
        "binary": "AP8=",
        "infinite": None,
        "struct": {"n": None, "b": "AQ==", "l": [None, 1.0]},
        "list": [{"a": 1}, None],
        "category": "x",
    }


async def test_keys_are_cast_to_text_and_data_columns_chosen(client: Client) -> None:
    table = pa.table({"id": [7, 8], "payload": pa.array([b"x", b"y"], pa.large_binary())})
    assert await put(client, table, data="payload", partition_key="id") == [("7", b"x"), ("8", b"y")]


async def test_what_was_read_can_be_put_again(client: Client) -> None:
    found = await put(client, pa.table(COLUMNS))
    await client.create_stream("copy")
    async with Producer(client, "copy") as producer:
        await producer.put_batch(await read_table(client, "s"))
    copy = await read_table(client, "copy")
    assert list(zip(copy["partition_key"].to_pylist(), copy["data"].to_pylist(), strict=True)) == found


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ([1, 2], {}, "list is no table"),
        (pa.table(COLUMNS), {"data": "payload"}, "no single column 'payload'; it has data, partition_key"),
        (pa.table({"data": [1]}), {}, "column 'data' holds int64; data are binary or text"),
        (pa.table({"data": ["x", None]}), {}, "column 'data' has 1 nulls"),
        (pa.table({"data": ["x"], "partition_key": [""]}), {}, "empty partition key"),
        (pa.table({"data": ["x"], "partition_key": ["ä" * 257]}), {}, "at most 256 characters"),
        (pa.table({"partition_key": ["x"]}), {}, "no column that could become data"),
    ],
)
async def test_tables_that_cannot_be_put(client: Client, table: Any, options: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        await put(client, table, **options)


async def test_a_partition_key_of_256_characters_is_not_256_bytes(client: Client) -> None:
    assert len(await put(client, pa.table({"data": ["x"], "partition_key": ["ä" * 256]}))) == 1


async def test_an_empty_table_and_an_empty_stream(client: Client) -> None:
    assert await put(client, pa.table({"data": pa.array([], pa.string())})) == []
    assert (await read_table(client, "s")).schema == TABLE_SCHEMA


async def test_a_large_table_goes_in_bounded_puts(client: Client) -> None:
    await client.create_stream("s", 2)
    rows = 200_000
    async with Producer(client, "s", buffer_size_max=1 << 20) as producer:
        assert await producer.put_batch(pa.table({"data": pa.array([bytes(100)] * rows)})) == rows
    table = await read_table(client, "s")
    assert len(table) == rows
    assert len(await read_table(client, "s", limit=70_000)) == 70_000


async def test_small_batches_are_gathered_and_large_ones_divided_in_order(client: Client) -> None:
    sizes = [3, 0, 1, 250_000, 2, 4]
    starts = list(itertools.accumulate(sizes, initial=0))
    batches = [
        pa.record_batch({"n": pa.array(range(first, first + size), pa.int64()), "nothing": pa.nulls(size)})
        for first, size in zip(starts, sizes, strict=False)
    ]
    pieces = list(records_of(pa.Table.from_batches(batches[:3] + batches[4:]), None, None, random.Random(1)))
    assert [len(piece) for piece in pieces] == [10]
    pieces = list(records_of(pa.Table.from_batches(batches), None, None, random.Random(1)))
    assert all(piece.size <= BULK_SIZE_MAX for piece in pieces)
    rows = [json.loads(data)["n"] for piece in pieces for data in piece.data.to_pylist()]
    assert rows == list(range(sum(sizes)))


async def test_a_reader_that_fails_half_way_says_so_and_what_it_gave_is_there(client: Client) -> None:
    await client.create_stream("s")
    schema = pa.schema([("data", pa.string())])

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"data": ["x" * 1000] * 9000})
        yield pa.record_batch({"data": ["y" * 1000] * 9000})
        raise OSError("the file is torn")

    async with Producer(client, "s") as producer:
        with pytest.raises(OSError, match="torn"):
            await producer.put_batch(pa.RecordBatchReader.from_batches(schema, batches()))
    assert len(await read_table(client, "s")) >= 9000


async def test_an_error_reaches_the_caller(client: Client) -> None:
    producer = Producer(client, "nowhere")
    with pytest.raises(ResourceNotFound):
        await producer.put_batch(pa.table(COLUMNS))
    await producer.close()


async def test_a_table_comes_out_for_polars_and_pandas(client: Client) -> None:
    await put(client, pa.table(COLUMNS))
    table = await read_table(client, "s")
    assert pl.DataFrame(table)["data"].to_list() == [b"eins", b"zwei", b"drei"]
    assert table.to_pandas()["offset"].tolist() == [0, 1, 2]


@given(st.lists(st.binary(max_size=20), max_size=30), st.integers(1, 50), st.integers(0, 5))
def test_split_keeps_all_within_the_bound(data: list[bytes], size_max: int, skipped: int) -> None:
    records = Records.of(["k"] * len(data), data).slice(min(skipped, len(data)))
    pieces = split(records, size_max)
    assert [blob for piece in pieces for blob in piece.data.to_pylist()] == data[min(skipped, len(data)) :]
    assert all(len(piece) == 1 or piece.size <= size_max for piece in pieces)
    for piece, after in itertools.pairwise(pieces):
        assert piece.size + after.slice(0, 1).size > size_max, "no piece is smaller than it could be"
