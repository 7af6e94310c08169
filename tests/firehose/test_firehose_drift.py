"""Schema drift: keys that the table has no column for, under each policy, and exactly once through crashes."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pyorc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.formats.unified import one_table
from firehose.conversion import Conversion
from firehose.drift import DriftPolicy, DriftReader
from firehose.events import ColumnSpec, Tagged
from firehose.evolution import COLUMNS_MAX, Kind, evolved, kinds_of
from firehose.schemas import row_reader
from streams.core.errors import InvalidArgument
from tests.firehose.harness import House
from tests.firehose.test_firehose_conversion import conversion, register
from tests.firehose.test_firehose_crash import Crash, Crasher, crasher, die, new_house
from tests.firehose.test_firehose_crash import _read as buffered
from tests.firehose.test_firehose_glue import update, versions

__all__ = ["crasher"]

VALUES: list[tuple[list[str], str | None]] = [
    (["1", "2147483647"], "int"),
    (["2147483648"], "bigint"),
    (["1", "-9223372036854775808"], "bigint"),
    (["9223372036854775808"], "string"),
    (["1", "9223372036854775808", "1.5"], "string"),
    (["1", "1.5"], "double"),
    (["1e3"], "double"),
    (["true", "false"], "boolean"),
    (["true", "1"], "string"),
    (["null", "7"], "int"),
    (["null"], None),
    (['"2013-01-01"'], "string"),
    (['""'], "string"),
    (["{}"], "string"),
    (["[1]", "1"], "string"),
]


@pytest.mark.parametrize(("values", "kind"), VALUES, ids=range(len(VALUES)))
def test_kinds(values: list[str], kind: str | None) -> None:
    texts = pa.array([f'{{"k": {value}, "other": "x"}}' for value in values])
    found = kinds_of(texts, ["k"])
    assert found == ({} if kind is None else {"k": Kind(kind)})


@pytest.mark.parametrize("key", ["", "x" * 256, 'a"b', "a\\b", "a\nb", "\0"])
def test_keys_that_no_column_can_be_called_by(key: str) -> None:
    assert kinds_of(pa.array([json.dumps({key: 1})]), [key]) == {}


@given(st.lists(st.sampled_from(["boolean", "int", "bigint", "double", "string"]), min_size=1, max_size=6))
def test_a_column_widens_to_the_same_in_any_order(kinds: list[str]) -> None:
    def widened(order: list[str]) -> list[ColumnSpec]:
        columns = [ColumnSpec("id", "int")]
        for kind in order:
            feeds = {spec.name: spec.name for spec in columns}
            columns = evolved(columns, feeds, {"k": Kind(kind)})
        return columns

    assert widened(kinds) == widened(sorted(kinds)) == widened(list(reversed(kinds)))


def test_declared_columns_stay_and_there_is_an_end_of_new_ones() -> None:
    columns = [ColumnSpec("id", "int")]
    assert evolved(columns, {"id": "id"}, {"id": Kind("string")}) == columns
    many = evolved(columns, {"id": "id"}, {f"k{n}": Kind("int") for n in range(2 * COLUMNS_MAX)})
    assert len(many) == COLUMNS_MAX


def test_batches_of_growing_schemas_are_one_table() -> None:
    batches = [
        pa.record_batch({"a": pa.array([1], pa.int32())}),
        pa.record_batch({"a": pa.array([2.5]), "b": pa.array([True])}),
        pa.record_batch({"a": pa.array([3], pa.int64())}),
        pa.record_batch({"a": pa.array([None], pa.float64()), "b": pa.array(["x"])}),
    ]
    assert one_table(batches).to_pylist() == [
        {"a": 1.0, "b": None},
        {"a": 2.5, "b": "true"},
        {"a": 3.0, "b": None},
        {"a": None, "b": "x"},
    ]


DECLARED = [("id", "int"), ("carrier", "string")]


async def create(
    house: House, policy: str, name: str = "flights", *, tags: dict[str, str] | None = None, **members: Any
) -> None:
    destination = {
        "RoleARN": "arn:aws:iam::000000000000:role/firehose",
        "BucketARN": "arn:aws:s3:::lake",
        "BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 5},
        **conversion(),
        **members,
    }
    await house.call(
        "CreateDeliveryStream",
        DeliveryStreamName=name,
        ExtendedS3DestinationConfiguration=destination,
        Tags=[{"Key": key, "Value": value} for key, value in {"headrace:drift": policy, **(tags or {})}.items()],
    )


async def gathered(house: House, count: int) -> None:
    """Until so many records wait in the buffers: those that come then are read apart from them."""
    await house.until(lambda: sum(map(buffered, house.firehose._drivers.values())) == count)


async def delivered(house: House, count: int) -> None:
    """Until so many records are settled."""
    await house.until(lambda: house.settled() >= count and house.delivered(), step_s=1)


def files(folder: Path) -> list[Path]:
    return sorted((folder / "buckets" / "lake").rglob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in files(folder) for row in pq.read_table(path).to_pylist()]


async def test_evolve(tmp_path: Path) -> None:
    """New columns are in the object that is being gathered: no file more than without drift."""
    async with House(tmp_path) as house:
        await register(house, DECLARED)
        await create(house, "evolve")
        await house.put("firehose/flights", [b'{"id": 1, "carrier": "AA"}'])
        await gathered(house, 1)
        await house.put("firehose/flights", [b'{"id": 2, "gate": 7, "Late": false, "seen": null, "crew": {"n": 4}}'])
        await gathered(house, 2)
        await house.put("firehose/flights", [b'{"id": 3, "gate": 5000000000}', b'{"id": "x", "gate": 1}', b"no json"])
        await gathered(house, 5)
        await delivered(house, 5)
        assert len(files(tmp_path)) == 1
        assert rows(tmp_path) == [
            {"id": 1, "carrier": "AA", "crew": None, "gate": None, "late": None},
            {"id": 2, "carrier": None, "crew": '{"n":4}', "gate": 7, "late": False},
            {"id": 3, "carrier": None, "crew": None, "gate": 5_000_000_000, "late": None},
        ]
        assert await versions(house) == [
            ("2", ["id", "carrier", "crew", "gate", "late"]),
            ("1", ["id", "carrier", "crew", "gate", "late"]),
            ("0", ["id", "carrier"]),
        ]
        await house.put("firehose/flights", [b'{"id": 4, "gate": 1.5}', b'{"id": 5, "gate": "A1"}'])
        await delivered(house, 7)
        assert [row["gate"] for row in rows(tmp_path)[3:]] == ["1.5", "A1"]
        found = duckdb.sql(
            f"SELECT id, gate FROM read_parquet('{tmp_path}/buckets/lake/**/*.parquet', union_by_name=true) ORDER BY id"
        ).fetchall()
        assert found == [(1, None), (2, "7"), (3, "5000000000"), (4, "1.5"), (5, "A1")]
        assert not house.findings()


async def test_evolve_to_orc(tmp_path: Path) -> None:
    orc = conversion()
    orc["DataFormatConversionConfiguration"]["OutputFormatConfiguration"] = {"Serializer": {"OrcSerDe": {}}}
    async with House(tmp_path) as house:
        await register(house, DECLARED)
        await create(house, "evolve", **orc)
        for count, record in enumerate((b'{"id": 1}', b'{"id": 2, "gate": 1}', b'{"id": 3, "gate": 2.5}'), 1):
            await house.put("firehose/flights", [record])
            await gathered(house, count)
        await delivered(house, 3)
        (path,) = (tmp_path / "buckets" / "lake").rglob("*.orc")
        with path.open("rb") as file:
            assert list(pyorc.Reader(file)) == [(1, None, None), (2, None, 1.0), (3, None, 2.5)]


async def test_evolve_gives_other_followers_of_the_table_the_columns_too(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await register(house, DECLARED)
        await create(house, "evolve")
        await create(house, "freeze", "other", BucketARN="arn:aws:s3:::other")
        await house.put("firehose/other", [b'{"id": 1, "gate": "waits"}'])
        await gathered(house, 1)
        await house.put("firehose/flights", [b'{"id": 2, "gate": "A"}'])
        await house.until(lambda: {one.created.table_version for one in house.streams()} == {"1"})
        await house.until(lambda: not house.firehose._adopting)
        await gathered(house, 2)
        await house.until(lambda: house.delivered() and bool(house.objects("other")), step_s=1)
        (path,) = (tmp_path / "buckets" / "other").rglob("*.parquet")
        assert pq.read_table(path).to_pylist() == [{"id": 1, "carrier": None, "gate": "waits"}]


async def test_keys_that_are_data_are_one_version_and_have_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firehose.evolution.COLUMNS_MAX", 50)
    async with House(tmp_path) as house:
        await register(house, DECLARED)
        await create(house, "evolve")
        await house.put("firehose/flights", [b'{"id": %d, "k%04d": 1}' % (n, n) for n in range(80)])
        await gathered(house, 80)
        await delivered(house, 80)
        assert len(files(tmp_path)) == 1
        newest = await versions(house)
        assert len(newest) <= 4
        assert len(newest[0][1]) == 50


async def test_what_a_table_is_partitioned_by_is_no_new_column(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await register(house, DECLARED)
        columns = [{"Name": name, "Type": kind} for name, kind in DECLARED]
        given = {
            "Name": "flights",
            "StorageDescriptor": {"Columns": columns},
            "PartitionKeys": [{"Name": "Month", "Type": "int"}],
        }
        await house.glue("UpdateTable", DatabaseName="air", TableInput=given)
        await create(house, "evolve")
        await house.put("firehose/flights", [b'{"id": 1, "month": 7, "gate": 3}'])
        await delivered(house, 1)
        assert rows(tmp_path) == [{"id": 1, "carrier": None, "gate": 3}]
        newest = (await house.glue("GetTable", DatabaseName="air", Name="flights"))["Table"]
        assert newest["PartitionKeys"] == given["PartitionKeys"]


async def test_tags_that_nobody_checked_do_not_keep_a_server_from_its_start(tmp_path: Path) -> None:
    house = House(tmp_path)
    async with house:
        await register(house, DECLARED)
        await create(house, "freeze")
        (stream,) = house.streams()
        await house.firehose._book.commit(Tagged(stream.number, {"headrace:drift": "sure"}))
    async with house:
        await house.put("firehose/flights", [b'{"id": 1, "gate": 3}'])
        await delivered(house, 1)
        assert rows(tmp_path) == [{"id": 1, "carrier": None}]


async def test_freeze_is_what_aws_does(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await register(house, DECLARED)
        await create(house, "freeze")
        await house.put("firehose/flights", [b'{"id": 1, "gate": 7}'])
        await delivered(house, 1)
        assert rows(tmp_path) == [{"id": 1, "carrier": None}]
        assert len(await versions(house)) == 1


async def test_error(tmp_path: Path) -> None:
    bad = [b'{"id": 2, "gate": 7, "A B": {}}', b'{"id": 3, "carrier": "AA", "gate": null}']
    async with House(tmp_path) as house:
        await register(house, DECLARED)
        await create(house, "error")
        await house.put("firehose/flights", [b'{"ID": 1}', *bad, b'{"id": "x", "gate": 1}', b'{"id": 4}'])
        await delivered(house, 5)
        assert [row["id"] for row in rows(tmp_path)] == [1, 4]
        (errors,) = (text for name, text in house.objects().items() if "format-conversion-failed" in name)
        lines = {base64.b64decode(line["rawData"]): line for line in map(json.loads, errors.splitlines())}
        assert {record: lines[record]["lastErrorCode"] for record in bad} == dict.fromkeys(
            bad, "DataFormatConversion.UnknownKeys"
        )
        assert lines[bad[0]]["lastErrorMessage"] == 'the table has no columns for "gate", "A B"'
        assert lines[b'{"id": "x", "gate": 1}']["lastErrorCode"] == "DataFormatConversion.MalformedData"


async def test_text(tmp_path: Path) -> None:
    records = [
        b'{"id": 1, "carrier": "AA"}',
        b'{"id": 2, "gate": 7, "crew": {"n": [1, null]}, "none": null}',
        b'{"ID": 3, "Carrier": "UA", "rest": "mine"}',
        b'{"gate": "a \\"b\\""}',
    ]
    async with House(tmp_path) as house:
        await register(house, [("id", "int"), ("rest", "string"), ("carrier", "string")])
        await create(house, "text", tags={"headrace:drift-column": "Rest"})
        await house.put("firehose/flights", records)
        await delivered(house, 4)
        assert [(row["id"], row["carrier"], row["rest"] and json.loads(row["rest"])) for row in rows(tmp_path)] == [
            (1, "AA", None),
            (2, None, {"gate": 7, "crew": {"n": [1, None]}, "none": None}),
            (3, "UA", {"rest": "mine"}),
            (None, None, {"gate": 'a "b"'}),
        ]


async def test_the_policy_is_a_tag_that_may_change(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await register(house, DECLARED)
        with pytest.raises(
            InvalidArgument, match=r"Tag headrace:drift is one of freeze, evolve, error, text, not sure"
        ):
            await create(house, "sure")
        with pytest.raises(InvalidArgument, match=r"needs a column _rest of type string"):
            await create(house, "text")
        pinned = conversion()
        pinned["DataFormatConversionConfiguration"]["SchemaConfiguration"]["VersionId"] = "0"
        with pytest.raises(InvalidArgument, match=r"cannot evolve at version 0"):
            await create(house, "evolve", **pinned)
        await create(house, "freeze")
        await house.put("firehose/flights", [b'{"id": 1, "gate": 7}'])
        await gathered(house, 1)
        for policy in ("text", "x"):
            tags = [{"Key": "headrace:drift", "Value": policy}]
            with pytest.raises(InvalidArgument):
                await house.call("TagDeliveryStream", DeliveryStreamName="flights", Tags=tags)
        tags = [{"Key": "headrace:drift", "Value": "evolve"}]
        await house.call("TagDeliveryStream", DeliveryStreamName="flights", Tags=tags)
        await delivered(house, 1)
        assert rows(tmp_path) == [{"id": 1, "carrier": None, "gate": 7}]
        await house.call("UntagDeliveryStream", DeliveryStreamName="flights", TagKeys=["headrace:drift"])
        await house.put("firehose/flights", [b'{"id": 2, "gate": 8, "seat": 1}'])
        await delivered(house, 2)
        assert rows(tmp_path)[1] == {"id": 2, "carrier": None, "gate": 8}


async def test_a_table_that_loses_the_column_for_text_is_left_out(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await register(house, [*DECLARED, ("_rest", "string")])
        await create(house, "text")
        await update(house, *DECLARED)
        await house.put("firehose/flights", [b'{"id": 1, "gate": 7}'])
        await delivered(house, 1)
        assert rows(tmp_path) == [{"id": 1, "carrier": None, "_rest": '{"gate":7}'}]


KEYS = ["gate", "Seat", "late", "note", "crew"]
ANY = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.sampled_from([1.5, -2.0]), st.text(max_size=3)
)


@settings(max_examples=15)
@given(st.lists(st.lists(st.dictionaries(st.sampled_from(KEYS), ANY, max_size=3), min_size=1, max_size=5), max_size=5))
def test_evolve_keeps_every_value(batches: list[list[dict[str, Any]]]) -> None:
    """As it was, or as the text of it."""
    members = conversion()
    read = Conversion.of({**members["DataFormatConversionConfiguration"], **_enabled(members)})
    assert read is not None
    columns = [ColumnSpec("id", "int")]

    async def evolve(found: Any) -> Any:
        nonlocal columns
        columns = evolved(columns, row_reader(columns, read).columns, found)
        return row_reader(columns, read)

    async def gathered() -> list[pa.RecordBatch]:
        reader = DriftReader(row_reader(columns, read), DriftPolicy("evolve"), evolve)
        done = []
        for batch in batches:
            data = pa.array([json.dumps(record).encode() for record in batch], pa.binary())
            await reader.prepare(data)
            decoded = reader.read(data)
            assert not decoded.faults
            done.append(decoded.rows)
        return done

    batches_read = asyncio.run(gathered())
    if not batches_read:
        return
    for row, record in zip(
        one_table(batches_read).to_pylist(), (one for batch in batches for one in batch), strict=True
    ):
        for key, value in record.items():
            found = row.get(key.lower())
            if value is None:
                assert found is None
            elif isinstance(found, str) and not isinstance(value, str):
                assert float(json.loads(found.lower())) == float(value)
            else:
                assert found == value


def _enabled(members: dict[str, Any]) -> dict[str, Any]:
    inner = members["DataFormatConversionConfiguration"]
    inner["OutputFormatConfiguration"]["Serializer"]["ParquetSerDe"].setdefault("Compression", "SNAPPY")
    return {"DataFormatConversionConfiguration": {**inner, "Enabled": True}}


@pytest.mark.parametrize("part", range(2))
async def test_evolve_is_exactly_once_through_crashes(tmp_path: Path, crasher: Crasher, seed: int, part: int) -> None:
    house = new_house(tmp_path, crasher)
    async with house:
        await register(house, [("id", "int")])
        await create(house, "evolve")
    dice = random.Random(seed + part)
    sent: list[dict[str, Any]] = []
    for _ in range(25):
        crasher.arm(dice.randrange(1, 16))
        try:
            await house.open()
            for _ in range(dice.randrange(1, 5)):
                records = [_record(dice, len(sent) + n) for n in range(dice.randrange(1, 20))]
                await house.put("firehose/flights", [json.dumps(record).encode() for record in records])
                sent += records
                for _ in range(dice.randrange(1, 4)):
                    house.clock.advance(dice.choice([1, 4, 6]))
                    await asyncio.sleep(0.01)
        except Crash:
            pass
        await die(house)
    crasher.arm(10**9)
    async with house:
        await house.until(lambda: house.settled() == len(sent), step_s=2)
        await house.until(house.delivered, step_s=2)
        assert not house.findings()
        found = rows(tmp_path)
        assert Counter(row["id"] for row in found) == Counter(range(len(sent)))
        for row in found:
            for key, value in sent[row["id"]].items():
                assert str(row[key]).lower() in (str(value).lower(), str(float(value)))
        newest = await versions(house)
        assert set(newest[0][1]) == {key for record in sent for key in record}


def _record(dice: random.Random, number: int) -> dict[str, Any]:
    extra = {f"k{dice.randrange(8)}": dice.choice([1, 2**40, 2.5]) for _ in range(dice.randrange(3))}
    return {"id": number, **extra}
