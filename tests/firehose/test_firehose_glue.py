"""The data catalog with boto3: tables evolve in versions, and delivery streams follow them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from firehose.events import decode_snapshot, encode
from streams.core.errors import InvalidArgument, RequestError
from tests.firehose.harness import House
from tests.firehose.test_firehose_conversion import conversion, register


def table(*columns: tuple[str, str], name: str = "flights", **members: Any) -> dict[str, Any]:
    listed = [{"Name": column, "Type": kind} for column, kind in columns]
    return {"Name": name, "StorageDescriptor": {"Columns": listed}, **members}


async def update(house: House, *columns: tuple[str, str], **members: Any) -> None:
    await house.glue("UpdateTable", DatabaseName="air", TableInput=table(*columns), **members)


async def versions(house: House) -> list[tuple[str, list[str]]]:
    found = await house.glue("GetTableVersions", DatabaseName="air", TableName="Flights")
    return [
        (one["VersionId"], [column["Name"] for column in one["Table"]["StorageDescriptor"]["Columns"]])
        for one in found["TableVersions"]
    ]


async def refused(house: House, operation: str, **request: Any) -> tuple[str, str]:
    with pytest.raises(RequestError) as caught:
        await house.glue(operation, **request)
    return caught.value.code, caught.value.message


async def test_versions_of_a_table(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await register(house, [("a", "int")])
        one = (await house.glue("GetTable", DatabaseName="AIR", Name="Flights"))["Table"]
        assert (one["VersionId"], one["Name"]) == ("0", "flights")
        house.clock.advance(5)
        await update(house, ("a", "int"), ("b", "int"), VersionId="0")
        await update(house, ("a", "int"), ("b", "int"), ("c", "int"))
        await update(house, ("a", "int"), ("d", "int"), SkipArchive=True)
        assert await versions(house) == [("3", ["a", "d"]), ("1", ["a", "b"]), ("0", ["a"])]
        now = (await house.glue("GetTable", DatabaseName="air", Name="flights"))["Table"]
        assert now["VersionId"] == "3"
        assert now["CreateTime"] == one["CreateTime"] < now["UpdateTime"]
        first = await house.glue("GetTableVersion", DatabaseName="air", TableName="flights", VersionId="0")
        assert first["TableVersion"]["Table"]["StorageDescriptor"]["Columns"] == [{"Name": "a", "Type": "int"}]
        stale = await refused(house, "UpdateTable", DatabaseName="air", TableInput=table(("a", "int")), VersionId="1")
        assert stale == ("ConcurrentModificationException", "Update table failed due to concurrent modifications.")
        where = {"DatabaseName": "air", "TableName": "flights"}
        assert (await refused(house, "GetTableVersion", **where, VersionId="2"))[0] == "EntityNotFoundException"
        assert (await refused(house, "DeleteTableVersion", **where, VersionId="3"))[0] == "InvalidInputException"
        await house.glue("DeleteTableVersion", **where, VersionId="0")
        reply = await house.glue("BatchDeleteTableVersion", **where, VersionIds=["1", "7"])
        assert [(error["VersionId"], error["ErrorDetail"]["ErrorCode"]) for error in reply["Errors"]] == [
            ("7", "EntityNotFoundException")
        ]
        assert await versions(house) == [("3", ["a", "d"])]


async def test_errors_in_glues_words(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        where = {"DatabaseName": "air", "Name": "flights"}
        nothing = ("EntityNotFoundException", "Database air not found.")
        assert await refused(house, "GetTable", **where) == nothing
        assert await refused(house, "CreateTable", DatabaseName="air", TableInput=table()) == nothing
        assert await refused(house, "DeleteDatabase", Name="air") == nothing
        await register(house)
        again = table(("a", "int"))
        already = await refused(house, "CreateTable", DatabaseName="air", TableInput=again)
        assert already == ("AlreadyExistsException", "Table already exists.")
        assert await refused(house, "GetTable", DatabaseName="air", Name="x") == (
            "EntityNotFoundException",
            "Entity Not Found",
        )
        for operation in ("DeleteTable", "UpdateTable"):
            members = {"Name": "x"} if operation == "DeleteTable" else {"TableInput": table(("a", "int"), name="x")}
            missing = await refused(house, operation, DatabaseName="air", **members)
            assert missing == ("EntityNotFoundException", "Table x not found.")
        assert (await refused(house, "GetTables", DatabaseName="air", Expression="("))[0] == "InvalidInputException"


async def test_tables_are_listed_by_expression_and_page_and_go_with_their_database(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await register(house)
        for name in ("flights_raw", "planes", "weather"):
            await house.glue("CreateTable", DatabaseName="air", TableInput=table(("a", "int"), name=name))
        found = await house.glue("GetTables", DatabaseName="air", Expression="flights.*")
        assert [one["Name"] for one in found["TableList"]] == ["flights", "flights_raw"]
        page = await house.glue("GetTables", DatabaseName="air", MaxResults=3)
        rest = await house.glue("GetTables", DatabaseName="air", NextToken=page["NextToken"])
        assert [one["Name"] for one in rest["TableList"]] == ["weather"]
        reply = await house.glue("BatchDeleteTable", DatabaseName="air", TablesToDelete=["planes", "boats"])
        assert [error["TableName"] for error in reply["Errors"]] == ["boats"]
        await house.glue("UpdateDatabase", Name="air", DatabaseInput={"Name": "air", "Description": "by air"})
        assert (await house.glue("GetDatabase", Name="air"))["Database"]["Description"] == "by air"
        await house.glue("DeleteDatabase", Name="air")
        await house.glue("CreateDatabase", DatabaseInput={"Name": "air"})
        assert (await house.glue("GetTables", DatabaseName="air"))["TableList"] == []


async def test_versions_outlive_restarts_and_snapshots(tmp_path: Path) -> None:
    house = House(tmp_path)
    async with house:
        await register(house, [("a", "int")])
        await update(house, ("b", "int"))
        await update(house, ("c", "int"))
        await house.glue("DeleteTableVersion", DatabaseName="air", TableName="flights", VersionId="0")
        before = await versions(house)
    async with house:
        assert await versions(house) == before == [("2", ["c"]), ("1", ["b"])]
        catalog = house.firehose._book.catalog
        kept = decode_snapshot(encode(catalog.snapshot()))
        catalog.restore(kept)
        assert await versions(house) == before
        await update(house, ("d", "int"))
        assert (await versions(house))[0] == ("3", ["d"])


def rows(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "buckets" / "lake").rglob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


async def test_latest_takes_a_new_version_by_itself_and_a_number_stays(tmp_path: Path) -> None:
    """What waits in the buffer is delivered under the new schema."""
    pinned = conversion()
    pinned["DataFormatConversionConfiguration"]["SchemaConfiguration"]["VersionId"] = "0"
    async with House(tmp_path, firehose_compat="emulator") as house:
        await register(house, [("a", "int")])
        await house.create(size=64, interval=5, **conversion())
        await house.create("pinned", bucket="pinned", size=64, interval=5, **pinned)
        for stream in ("flights", "pinned"):
            await house.put(f"firehose/{stream}", [b'{"a": 1, "b": "x"}'])
        await house.settle()
        await update(house, ("a", "bigint"), ("b", "string"))
        await house.put("firehose/flights", [b'{"a": 2, "b": 3}', b'{"a": "no"}'])
        await house.until(lambda: house.delivered() and bool(house.objects("pinned")), step_s=1)
        assert rows(tmp_path) == [{"a": 1, "b": "x"}, {"a": 2, "b": "3"}]
        (errors,) = (text for name, text in house.objects().items() if "format-conversion-failed" in name)
        assert json.loads(errors)["dataCatalogTable"]["versionId"] == "1"
        (path,) = (tmp_path / "buckets" / "pinned").rglob("*.parquet")
        assert pq.read_table(path).to_pylist() == [{"a": 1}]


async def test_a_version_that_rows_cannot_have_is_left_out_and_a_deleted_table_changes_nothing(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await register(house, [("a", "int")])
        await house.create(size=64, interval=5, **conversion())
        await update(house, ("a", "uuid"))
        await house.glue("DeleteTable", DatabaseName="air", Name="flights")
        await house.put("firehose/flights", [b'{"a": 1}'])
        await house.until(house.delivered, step_s=1)
        assert rows(tmp_path) == [{"a": 1}]
        await house.glue("CreateTable", DatabaseName="air", TableInput=table(("b", "int")))
        await house.put("firehose/flights", [b'{"b": 2}'])
        await house.until(lambda: len(rows(tmp_path)) == 2, step_s=1)
        assert rows(tmp_path)[1] == {"b": 2}


async def test_a_version_that_is_not_there(tmp_path: Path) -> None:
    missing = conversion()
    missing["DataFormatConversionConfiguration"]["SchemaConfiguration"]["VersionId"] = "7"
    async with House(tmp_path) as house:
        await register(house)
        with pytest.raises(InvalidArgument, match=r"Version 7 of table air\.flights was not found"):
            await house.create(size=64, **missing)
