"""Keys of JSON records as the OpenX deserializer matches them with columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.formats.schema import Column
from firehose.rows import RowReader
from tests.firehose.harness import House
from tests.firehose.test_firehose_conversion import conversion, register

COLUMNS = [Column("month", pa.int32()), Column("user_id", pa.string()), Column("tail", pa.string(), '$."Tail.No"')]


def read(records: list[bytes], **options: Any) -> tuple[list[Any], list[int]]:
    decoded = RowReader(COLUMNS, **options).read(pa.array(records, pa.binary()))
    rows: list[Any] = [None] * len(records)
    for index, row in zip(decoded.source.to_pylist(), decoded.rows.to_pylist(), strict=True):
        rows[index] = (row["month"], row["user_id"], row["tail"])
    return rows, [fault.index for fault in decoded.faults]


KEYS: list[tuple[bytes, dict[str, Any], tuple[Any, ...]]] = [
    (b'{"month":1,"user_id":"a","Tail.No":"N"}', {}, (1, "a", "N")),
    (b'{"Month":1,"USER_ID":"a","tail.no":"N"}', {}, (1, "a", "N")),
    (b'{"Month":1,"USER_ID":"a","tail.no":"N"}', {"ignore_case": False}, (None, None, None)),
    (b'{"month":1,"user.id":"a","Tail.No":"N"}', {}, (1, None, "N")),
    (b'{"month":1,"user.id":"a","Tail.No":"N"}', {"dots": True}, (1, "a", "N")),
    (b'{"Month":1,"User.Id":"a","Tail.No":"N"}', {"dots": True}, (1, "a", "N")),
    (b'{"Month":1,"User.Id":"a","Tail.No":"N"}', {"dots": True, "ignore_case": False}, (None, None, "N")),
    (b'{"month":1,"user.id":"a","Tail.No":"N"}', {"dots": True, "ignore_case": False}, (1, "a", "N")),
    (b'{"month":null,"user_id":"A: \\"B\\": ","Tail.No":"N"}', {}, (None, 'A: "B": ', "N")),
    (b'{"\\u004donth" : 3}', {}, (3, None, None)),
]


@pytest.mark.parametrize(("record", "options", "row"), KEYS, ids=range(len(KEYS)))
def test_keys_and_columns(record: bytes, options: dict[str, Any], row: tuple[Any, ...]) -> None:
    for records in ([record], [record] * 3, [b"{}", record, b"no json", record]):
        rows, faults = read(records, **options)
        assert [rows[index] for index, one in enumerate(records) if one == record] == [row] * records.count(record)
        assert faults == [index for index, one in enumerate(records) if one == b"no json"]


@given(st.lists(st.sampled_from(["month", "Month", "MONTH", "other", "bad"]), max_size=40), st.integers(1, 8))
def test_any_mixture_reads_as_each_record_alone(keys: list[str], size: int) -> None:
    records = [
        b"no json" if key == "bad" else json.dumps({key: number, "user_id": "é"}).encode()
        for number, key in enumerate(keys)
    ]
    reader, rows = RowReader(COLUMNS), {}
    for first in range(0, len(records), size):
        decoded = reader.read(pa.array(records[first : first + size], pa.binary()))
        for index, row in zip(decoded.source.to_pylist(), decoded.rows.to_pylist(), strict=True):
            rows[first + index] = row["month"]
    expected = {n: n if key.lower() == "month" else None for n, key in enumerate(keys) if key != "bad"}
    assert rows == expected


async def test_keys_of_any_case_in_parquet(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await register(house, [("customerid", "string"), ("a_b", "int")])
        await house.create(size=64, interval=5, **conversion(ConvertDotsInJsonKeysToUnderscores=True))
        await house.put("firehose/flights", [b'{"customerId": "x", "a.b": 1}', b'{"customerid": "y", "A_B": 2}'])
        await house.until(house.delivered, step_s=1)
        (path,) = (tmp_path / "buckets" / "lake").rglob("*.parquet")
        assert pq.read_table(path).to_pylist() == [{"customerid": "x", "a_b": 1}, {"customerid": "y", "a_b": 2}]
