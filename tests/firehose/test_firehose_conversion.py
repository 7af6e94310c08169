"""Partitions by key and rows in Parquet, read back by readers that are not ours."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pyorc
import pytest

from streams.core.errors import InvalidArgument
from tests.firehose.harness import House, function, processing

BY_MONTH = {"by_month": "tests.firehose.functions:by_month"}
COLUMNS = [("month", "int"), ("dep", "double"), ("carrier", "string"), ("at", "timestamp")]


def conversion(compression: str | None = None, **openx: Any) -> dict[str, Any]:
    parquet = {} if compression is None else {"Compression": compression}
    return {
        "DataFormatConversionConfiguration": {
            "SchemaConfiguration": {"RoleARN": "arn:aws:iam::1:role/r", "DatabaseName": "air", "TableName": "flights"},
            "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": openx}},
            "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": parquet}},
        }
    }


def partitioned(prefix: str = "month=!{partitionKeyFromLambda:month}/") -> dict[str, Any]:
    return {
        "Prefix": prefix,
        "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
        "DynamicPartitioningConfiguration": {"Enabled": True},
    }


async def register(house: House, columns: list[tuple[str, str]] = COLUMNS) -> None:
    await house.glue("CreateDatabase", DatabaseInput={"Name": "air"})
    await house.glue(
        "CreateTable",
        DatabaseName="air",
        TableInput={
            "Name": "flights",
            "StorageDescriptor": {"Columns": [{"Name": name, "Type": kind} for name, kind in columns]},
        },
    )


def flight(n: int) -> dict[str, Any]:
    return {
        "month": n % 12 + 1,
        "dep": None if n % 10 == 0 else n / 2,
        "carrier": "AA",
        "at": f"2013-01-01 10:00:{n % 60:02d}",
    }


async def test_parquet_by_month(tmp_path: Path) -> None:
    async with House(tmp_path, functions=BY_MONTH, firehose_compat="emulator") as house:
        await register(house)
        await house.create(size=64, interval=5, **partitioned(), **conversion(), **processing(function("by_month")))
        flights = [flight(n) for n in range(2000)]
        await house.put("firehose/flights", [json.dumps(one).encode() for one in flights])
        await house.until(house.delivered, step_s=1)
        names = list(house.objects())
        rows = duckdb.sql(
            f'SELECT month, count(*), sum(dep), min("at"), hive_month FROM (SELECT *, '
            f"regexp_extract(filename, 'month=(\\d+)', 1)::INT AS hive_month "
            f"FROM read_parquet('{tmp_path}/buckets/lake/*/*.parquet', filename=true, hive_partitioning=false)) "
            "GROUP BY ALL ORDER BY month"
        ).fetchall()
        kept = [one for one in flights if one["dep"] is not None]
        assert len(names) == 12
        assert [row[0] for row in rows] == [row[4] for row in rows] == list(range(1, 13))
        assert sum(row[1] for row in rows) == len(kept)
        assert sum(row[2] for row in rows) == sum(one["dep"] for one in kept)


@pytest.mark.parametrize(("given", "codec"), [(None, "SNAPPY"), ("GZIP", "GZIP"), ("UNCOMPRESSED", "UNCOMPRESSED")])
async def test_compression_of_parquet(tmp_path: Path, given: str | None, codec: str) -> None:
    async with House(tmp_path) as house:
        await register(house)
        await house.create(size=64, interval=5, **conversion(given))
        await house.put("firehose/flights", [json.dumps(flight(n)).encode() for n in range(50)])
        await house.until(house.delivered, step_s=1)
        (path,) = (tmp_path / "buckets" / "lake").rglob("*.parquet")
        file = pq.ParquetFile(path)
        assert file.metadata.num_rows == 50
        assert file.metadata.row_group(0).column(0).compression == codec
        assert [str(kind) for kind in file.schema_arrow.types] == ["int32", "double", "string", "timestamp[ms]"]


async def test_orc(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await register(house)
        orc = conversion()
        serializer = {"Serializer": {"OrcSerDe": {"Compression": "ZLIB", "BloomFilterColumns": ["carrier"]}}}
        orc["DataFormatConversionConfiguration"]["OutputFormatConfiguration"] = serializer
        await house.create(size=64, interval=5, **orc)
        await house.put("firehose/flights", [json.dumps(flight(n)).encode() for n in range(50)])
        await house.until(house.delivered, step_s=1)
        (path,) = (tmp_path / "buckets" / "lake").rglob("*.orc")
        with path.open("rb") as file:
            reader = pyorc.Reader(file)
            assert str(reader.schema) == "struct<month:int,dep:double,carrier:string,at:timestamp>"
            assert reader.compression == pyorc.CompressionKind.ZLIB
            assert sorted(row[0] for row in reader) == sorted(n % 12 + 1 for n in range(50))


async def test_records_that_do_not_fit_go_to_the_error_output_as_they_were(tmp_path: Path) -> None:
    bad = [b"not json", b'{"month": "spring"}', b"[1]", b"\xff\xfe"]
    async with House(tmp_path) as house:
        await register(house)
        await house.create(size=64, interval=5, **conversion())
        await house.put("firehose/flights", [b'{"month": 1}', *bad, b'{"month": 2}'])
        await house.until(house.delivered, step_s=1)
        objects = house.objects()
        (errors,) = (content for name, content in objects.items() if name.startswith("format-conversion-failed/2023/"))
        lines = [json.loads(line) for line in errors.splitlines()]
        assert sorted(base64.b64decode(line["rawData"]) for line in lines) == sorted(bad)
        assert {line["lastErrorCode"] for line in lines} == {
            "DataFormatConversion.ParseError",
            "DataFormatConversion.MalformedData",
        }
        assert lines[0]["dataCatalogTable"] == {
            "catalogId": "000000000000",
            "databaseName": "air",
            "tableName": "flights",
            "region": "us-east-1",
            "versionId": "0",
            "catalogArn": "arn:aws:glue:us-east-1:000000000000:catalog",
        }
        (path,) = (tmp_path / "buckets" / "lake").rglob("*.parquet")
        assert pq.read_table(path).column("month").to_pylist() == [1, 2]


async def test_column_mappings(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await register(house, [("tail", "string")])
        await house.create(size=64, interval=5, **conversion(ColumnToJsonKeyMappings={"tail": "Tail.Number"}))
        await house.put("firehose/flights", [b'{"Tail.Number": "N14228"}'])
        await house.until(house.delivered, step_s=1)
        (path,) = (tmp_path / "buckets" / "lake").rglob("*.parquet")
        assert pq.read_table(path).to_pylist() == [{"tail": "N14228"}]


def query(text: str) -> dict[str, Any]:
    given = {"MetadataExtractionQuery": text, "JsonParsingEngine": "JQ-1.6"}
    return {
        "Type": "MetadataExtraction",
        "Parameters": [{"ParameterName": key, "ParameterValue": value} for key, value in given.items()],
    }


async def test_partition_keys_by_query_and_what_has_none(tmp_path: Path) -> None:
    bad = [b'{"c": null}', b'{"c": ""}', b"{}", b"no json", b"[]", b'{"c": [1]}', b'{"c": "%s"}' % (b"x" * 300)]
    async with House(tmp_path, firehose_compat="emulator") as house:
        await house.create(**partitioned("c=!{partitionKeyFromQuery:c}/"), **processing(query("{c: .c}")))
        await house.put("firehose/flights", [b'{"c": "AA"}', *bad, b'{"c": 7}', b'{"c": "../../up"}', b'{"c": true}'])
        await house.until(house.delivered, step_s=10)
        objects = house.objects()
        (errors,) = (
            content for name, content in objects.items() if name.startswith("errors/metadata-extraction-failed/")
        )
        lines = [json.loads(line) for line in errors.splitlines()]
        assert sorted(base64.b64decode(line["rawData"]) for line in lines) == sorted(bad)
        assert {line["errorCode"] for line in lines} == {"DynamicPartitioning.MetadataExtractionFailed"}
        folders = {name.rpartition("/")[0]: content for name, content in objects.items() if name.startswith("c=")}
        assert folders == {
            "c=AA": b'{"c": "AA"}',
            "c=7": b'{"c": 7}',
            "c=true": b'{"c": true}',
            "c=../%2E%2E/up": b'{"c": "../../up"}',
        }


async def test_a_query_that_runs_away_ends_in_the_error_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firehose.assembly.TIMEOUT_S", 1.0)
    async with House(tmp_path, firehose_compat="emulator") as house:
        away = 'if .c == "away" then last(range(1e12)) else {c: .c} end'
        await house.create(**partitioned("c=!{partitionKeyFromQuery:c}/"), **processing(query(away)))
        await house.put("firehose/flights", [b'{"c": "away"}'])
        await house.until(house.delivered, step_s=10)
        await house.put("firehose/flights", [b'{"c": "back"}'])
        await house.until(lambda: len(house.objects()) == 2, step_s=10)
        errors, good = sorted(house.objects().items(), reverse=True)
        assert b"timed out" in errors[1]
        assert good[0].startswith("c=back/")


async def test_partitions_beyond_the_limit_go_to_the_error_output(tmp_path: Path) -> None:
    async with House(tmp_path, firehose_compat="emulator") as house:
        await house.create(**partitioned("c=!{partitionKeyFromQuery:c}/"), **processing(query("{c: .c}")))
        await house.put("firehose/flights", [b'{"c": %d}' % (n % 510) for n in range(1020)])
        await house.until(house.delivered, step_s=10)
        objects = house.objects()
        (errors,) = (content for name, content in objects.items() if name.startswith("errors/"))
        assert len(objects) == 501
        assert len(errors.splitlines()) == 20
        assert b"ActivePartitionsLimitExceeded" in errors


async def test_a_table_that_cannot_be_used(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        with pytest.raises(InvalidArgument, match=r"Table air\.flights was not found"):
            await house.create(size=64, **conversion())
        await register(house, [("a", "uuid")])
        with pytest.raises(InvalidArgument, match=r"Column a of table air\.flights: type uuid is not supported"):
            await house.create(size=64, **conversion())
