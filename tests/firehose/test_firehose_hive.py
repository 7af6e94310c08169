"""The Hive JSON deserializer: strict about kinds, times by patterns; and what serializers leave in a file."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyorc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.formats import joda
from connectors.formats.dialect import Dialect
from connectors.formats.schema import Column
from firehose.hive import arrow_type
from firehose.rows import RowReader
from streams.core.errors import InvalidArgument
from tests.firehose.harness import House
from tests.firehose.test_firehose_conversion import conversion, register

FAULT = "fault"
DAY = datetime(2013, 1, 2)

VALUES: list[tuple[str, str, Any]] = [
    ("int", "7", 7),
    ("int", "-7", -7),
    ("int", '"7"', FAULT),
    ("int", "true", FAULT),
    ("int", "3000000000", FAULT),
    ("double", "1e3", 1000.0),
    ("double", '"1.5"', FAULT),
    ("boolean", "true", True),
    ("boolean", "1", FAULT),
    ("boolean", '"true"', FAULT),
    ("string", '"a"', "a"),
    ("string", "1.5", "1.5"),
    ("string", "false", "false"),
    ("string", '{"a": 1}', FAULT),
    ("string", "[1]", FAULT),
    ("string", '"[1]"', "[1]"),
    ("string", "null", None),
    ("decimal(5,2)", '"1.25"', pytest.approx(1.25)),
    ("binary", '"YWJj"', b"abc"),
    ("binary", "1", FAULT),
    ("timestamp", '"2013-01-02 03:04:05"', datetime(2013, 1, 2, 3, 4, 5)),
    ("timestamp", '"2013-1-2 3:4:5.25"', datetime(2013, 1, 2, 3, 4, 5, 250_000)),
    ("timestamp", '"2013-01-02T03:04:05Z"', FAULT),
    ("timestamp", "1357095845000", FAULT),
    ("date", '"2013-1-2"', date(2013, 1, 2)),
    ("date", '"2013-02-30"', FAULT),
    ("array<int>", "[1, null]", [1, None]),
    ("array<int>", '["1"]', FAULT),
    ("map<string,int>", '{"a": 1, "b": null}', [("a", 1), ("b", None)]),
    ("map<string,int>", '{"a": "1"}', FAULT),
    ("map<string,array<struct<x:int>>>", '{"k": [{"x": 1}]}', [("k", [{"x": 1}])]),
    ("map<string,array<struct<x:int>>>", '{"k": [{"x": "1"}]}', FAULT),
    ("struct<a:int,t:timestamp>", '{"A": 1, "t": "2013-01-02 00:00:00"}', {"a": 1, "t": DAY}),
    ("struct<a:int,t:timestamp>", '{"a": "1"}', FAULT),
    ("struct<a:int,t:timestamp>", '{"t": "yesterday"}', FAULT),
]


@pytest.mark.parametrize(("kind", "text", "value"), VALUES, ids=range(len(VALUES)))
def test_values(kind: str, text: str, value: Any) -> None:
    assert read(kind, text) == value


def read(kind: str, text: str, *patterns: str) -> Any:
    """The value of a column beside others; FAULT where its record failed."""
    reader = RowReader([Column("n", pa.int32()), Column("v", arrow_type(kind))], dialect=Dialect(patterns))
    records = [b'{"n": 1}', b"no json", b'{"n": 2, "v": %s}' % text.encode(), b'{"v": null}']
    decoded = reader.read(pa.array(records, pa.binary()))
    decoded.rows.validate(full=True)
    rows = dict(zip(decoded.source.to_pylist(), decoded.rows.column("v").to_pylist(), strict=True))
    assert {index for index in (0, 3) if rows[index] is None} == {0, 3}
    if 2 in rows:
        assert [fault.index for fault in decoded.faults] == [1]
        return rows[2]
    assert [(fault.index, fault.code) for fault in decoded.faults] == [(1, "InvalidJson"), (2, "CoercionError")]
    return FAULT


PATTERNS: list[tuple[tuple[str, ...], str, Any]] = [
    (("millis",), "1357095845250", datetime(2013, 1, 2, 3, 4, 5, 250_000)),
    (("millis",), '"1357095845250"', datetime(2013, 1, 2, 3, 4, 5, 250_000)),
    (("millis",), "-1", datetime(1969, 12, 31, 23, 59, 59, 999_000)),
    (("millis",), '"2013-01-02 00:00:00"', DAY),
    (("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'",), '"2013-01-02T03:04:05.678Z"', datetime(2013, 1, 2, 3, 4, 5, 678_000)),
    (("yyyy-MM-dd'T'HH:mm:ssZ",), '"2013-01-02T03:04:05+02:00"', datetime(2013, 1, 2, 1, 4, 5)),
    (("yyyy-MM-dd'T'HH:mm:ssZ",), '"2013-01-02T03:04:05-0030"', datetime(2013, 1, 2, 3, 34, 5)),
    (("dd/MMM/yyyy:HH:mm:ss Z",), '"02/Jan/2013:03:04:05 +0000"', datetime(2013, 1, 2, 3, 4, 5)),
    (("EEEE, d MMMM yy h a",), '"Wednesday, 2 January 13 12 AM"', DAY),
    (("yyyyMMdd",), '"20130102"', DAY),
    (("yyyyMMdd",), "20130102", DAY),
    (("yyyyMMdd",), '"201301"', FAULT),
    (("yyyy DDD",), '"2013 002"', DAY),
    (("yyyy DDD",), '"2013 366"', FAULT),
    (("yyyy-MM-dd k", "yyyy-MM-dd K a"), '"2013-01-02 24"', DAY),
    (("yyyy-MM-dd k", "yyyy-MM-dd K a"), '"2013-01-01 11 PM"', datetime(2013, 1, 1, 23)),
    (("yyyy 'o''clock' H",), '"2013 o\'clock 7"', datetime(2013, 1, 1, 7)),
    (("yyyy-MM-dd HH",), '"2013-01-02 24"', FAULT),
    (("yyyy-MM-dd",), '"0000-01-01"', FAULT),
    (("yyyy-MM-dd",), '"2013-01-02 "', FAULT),
]


@pytest.mark.parametrize(("patterns", "text", "value"), PATTERNS, ids=range(len(PATTERNS)))
def test_times_by_patterns(patterns: tuple[str, ...], text: str, value: Any) -> None:
    assert read("timestamp", text, *patterns) == value
    wanted = value if value is FAULT else [value]
    assert read("array<timestamp>", f"[{text}]", *patterns) == wanted
    assert read("date", text, *patterns) == (value if value is FAULT else value.date())


@given(st.lists(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), min_size=1, max_size=20))
def test_times_come_back_from_their_texts(times: list[datetime]) -> None:
    texts = [f"{one.year:04d}|{one:%j|%d|%m|%H:%M:%S}.{one.microsecond:06d}" for one in times]
    # A weekday and a day of the year are read, and say the same as month and day.
    by_month = [text.split("|", 2)[0] + "|" + text.split("|", 2)[2] for text in texts]
    by_day = ["|".join([*text.split("|")[:2], text.split("|")[4]]) for text in texts]
    wanted = [one.replace(microsecond=one.microsecond // 1000 * 1000) for one in times]
    for given_texts, pattern in ((by_month, "yyyy|dd|MM|HH:mm:ss.SSSSSS"), (by_day, "yyyy|DDD|HH:mm:ss.SSSSSS")):
        assert joda.parse(pa.array(given_texts), [pattern]).to_pylist() == wanted


@pytest.mark.parametrize("pattern", ["yyyy zzz", "HH:mm", "yyyy 'x", "yyyy yyyy", "xxxx-'W'ww", "yyyy YYYY", "yyyy G"])
async def test_patterns_that_are_none_are_refused(tmp_path: Path, pattern: str) -> None:
    async with House(tmp_path) as house:
        await register(house)
        with pytest.raises(InvalidArgument, match=r"^TimestampFormats: pattern .*\.$"):
            await house.create(size=64, **hive(TimestampFormats=["millis", pattern]))


def hive(serializer: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    members = conversion()
    inner = members["DataFormatConversionConfiguration"]
    inner["InputFormatConfiguration"] = {"Deserializer": {"HiveJsonSerDe": options}}
    if serializer is not None:
        inner["OutputFormatConfiguration"] = {"Serializer": serializer}
    return members


async def test_a_delivery_stream_with_the_hive_deserializer(tmp_path: Path) -> None:
    good = [b'{"month": 1, "At": "02/01/2013"}', b'{"MONTH": 2, "at": 1357095845000}', b'{"month": null}']
    bad = [b'{"month": "1"}', b'{"month": 1, "at": "2013?"}', b'{"month": 1, "carrier": {"code": "AA"}}', b"[]"]
    async with House(tmp_path) as house:
        await register(house)
        await house.create(size=64, interval=5, **hive(TimestampFormats=["dd/MM/yyyy", "millis"]))
        await house.put("firehose/flights", [*good, *bad])
        await house.until(house.delivered, step_s=1)
        (path,) = (tmp_path / "buckets" / "lake").rglob("*.parquet")
        rows = pq.read_table(path).select(["month", "at"]).to_pylist()
        assert rows == [
            {"month": 1, "at": DAY},
            {"month": 2, "at": datetime.fromtimestamp(1357095845, UTC).replace(tzinfo=None)},
            {"month": None, "at": None},
        ]
        (errors,) = (text for name, text in house.objects().items() if "format-conversion-failed" in name)
        lines = [json.loads(line) for line in errors.splitlines()]
        assert sorted(base64.b64decode(line["rawData"]) for line in lines) == sorted(bad)


async def written(folder: Path, serializer: dict[str, Any], count: int = 20_000) -> Path:
    async with House(folder) as house:
        await register(house)
        await house.create(size=64, interval=5, **hive(serializer))
        records = [b'{"month": %d, "dep": %d.5, "carrier": "%d"}' % (n % 12, n, n % 7) for n in range(count)]
        await house.put("firehose/flights", records)
        await house.until(house.delivered, step_s=1)
        (path,) = (path for path in (folder / "buckets" / "lake").rglob("*") if path.suffix in (".parquet", ".orc"))
        return path


async def test_what_parquet_options_leave_in_a_file(tmp_path: Path) -> None:
    plain = {"EnableDictionaryCompression": False, "WriterVersion": "V2", "Compression": "GZIP", "MaxPaddingBytes": 8}
    file = pq.ParquetFile(await written(tmp_path / "plain", {"ParquetSerDe": plain}))
    column = file.metadata.row_group(0).column(2)
    assert column.compression == "GZIP"
    assert not any("DICTIONARY" in encoding for encoding in column.encodings)
    small = {"BlockSizeBytes": 64 << 20, "PageSizeBytes": 65_536}
    file = pq.ParquetFile(await written(tmp_path / "small", {"ParquetSerDe": small}))
    column = file.metadata.row_group(0).column(2)
    assert any("DICTIONARY" in encoding for encoding in column.encodings)


async def test_what_orc_options_leave_in_a_file(tmp_path: Path) -> None:
    options = {
        "Compression": "ZLIB",
        "StripeSizeBytes": 8 << 20,
        "BlockSizeBytes": 64 << 20,
        "RowIndexStride": 2_000,
        "EnablePadding": True,
        "PaddingTolerance": 0.1,
        "BloomFilterColumns": ["Carrier", "no_such_column"],
        "BloomFilterFalsePositiveProbability": 0.01,
        "DictionaryKeyThreshold": 1.0,
        "FormatVersion": "V0_11",
    }
    path = await written(tmp_path / "all", {"OrcSerDe": options})
    with path.open("rb") as opened:
        reader = pyorc.Reader(opened)
        assert reader.compression == pyorc.CompressionKind.ZLIB
        assert reader.row_index_stride == 2_000
        assert reader.format_version == (0, 11)
        assert len(list(reader)) == 20_000
    del options["BloomFilterColumns"]
    assert (await written(tmp_path / "no_filter", {"OrcSerDe": options})).stat().st_size < path.stat().st_size
