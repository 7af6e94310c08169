"""Arrays, maps and structs: read by the types of a table, written as Parquet and ORC, read back by other readers."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pyorc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.webhooks import COLUMNS as WEBHOOK
from benchmarks.webhooks import webhooks
from connectors.formats.json import decode_json
from connectors.formats.schema import Column
from firehose.hive import arrow_type
from firehose.rows import RowReader
from streams.core.errors import InvalidArgument
from tests.firehose.harness import House
from tests.firehose.test_firehose_conversion import conversion, register

FAULT = "fault"

VALUES: list[tuple[str, str, Any]] = [
    ("array<int>", "[1, 2, null]", [1, 2, None]),
    ("array<int>", "[]", []),
    ("array<int>", "null", None),
    ("array<int>", '["7", 8.0]', [7, 8]),
    ("array<int>", "[1.5]", FAULT),
    ("array<int>", "[[1]]", FAULT),
    ("array<int>", "7", FAULT),
    ("array<int>", '"[1]"', FAULT),
    ("array<int>", '{"0": 1}', FAULT),
    ("array<string>", '["a", 1, true, {"b": [1]}, null]', ["a", "1", "true", '{"b":[1]}', None]),
    ("array<array<double>>", "[[1, 2.5], null, []]", [[1.0, 2.5], None, []]),
    ("array<timestamp>", '["2013-01-01T05:00:00Z", 1356998400]', [datetime(2013, 1, 1, 5), datetime(2013, 1, 1)]),
    ("array<timestamp>", '["never"]', FAULT),
    ("array<decimal(5,2)>", "[1.25]", [pytest.approx(1.25)]),
    ("array<boolean>", "[true, false, 0, null]", [True, False, False, None]),
    ("array<boolean>", "[{}]", FAULT),
    ("array<binary>", '["YWJj"]', [b"abc"]),
    ("map<string,int>", '{"a": 1, "B": null}', [("a", 1), ("B", None)]),
    ("map<string,int>", '{"a": 1, "a": 2}', [("a", 2)]),
    ("map<string,int>", "{}", []),
    ("map<string,int>", "null", None),
    ("map<string,int>", "[]", FAULT),
    ("map<string,int>", '"{}"', FAULT),
    ("map<string,int>", '{"a": "x"}', FAULT),
    ("map<int,string>", '{"1": "a", "01": "b"}', [(1, "b")]),
    ("map<int,string>", '{"x": "a"}', FAULT),
    ("map<string,array<struct<x:int>>>", '{"k": [{"x": 1}, null], "l": null}', [("k", [{"x": 1}, None]), ("l", None)]),
    ("map<string,array<struct<x:int>>>", '{"k": [{"x": "y"}]}', FAULT),
    ("map<string,map<string,int>>", '{"k": {"a": 1}, "l": {}}', [("k", [("a", 1)]), ("l", [])]),
    ("map<string,map<string,int>>", '{"k": {"a": []}}', FAULT),
    ("struct<x:int,y:string>", '{"y": "b", "z": 1}', {"x": None, "y": "b"}),
    ("struct<x:int,y:string>", "{}", {"x": None, "y": None}),
    ("struct<x:int,y:string>", '{"X": 3, "Y": 4}', {"x": 3, "y": "4"}),
    ("struct<x:int,y:string>", "null", None),
    ("struct<x:int,y:string>", "[1]", FAULT),
    ("struct<x:int,y:string>", "true", FAULT),
    ("struct<x:int>", '{"x": 3000000000}', FAULT),
    ("array<struct<x:int>>", "[1]", FAULT),
    ("array<struct<x:int>>", '["{\\"x\\":1}"]', FAULT),
    ("array<struct<x:int>>", "[{}, null]", [{"x": None}, None]),
    ("struct<userId:struct<theName:string>>", '{"USERID": {"thename": "n"}}', {"userId": {"theName": "n"}}),
    ("struct<a:struct<b:struct<c:array<int>>>>", '{"a": {"b": {"c": [1]}}}', {"a": {"b": {"c": [1]}}}),
    ("struct<a:struct<b:struct<c:array<int>>>>", '{"a": {"b": {"c": 1}}}', FAULT),
    ("struct<`odd name`:int, b : map < string , int > >", '{"odd name": 1}', {"odd name": 1, "b": None}),
]


@pytest.mark.parametrize(("kind", "text", "value"), VALUES, ids=range(len(VALUES)))
def test_values(kind: str, text: str, value: Any) -> None:
    """Alone, and between others: what a neighbour holds changes nothing."""
    reader = RowReader([Column("n", pa.int32()), Column("v", arrow_type(kind))])
    record = b'{"n": 1, "v": %s}' % text.encode()
    for records in ([record], [b'{"n": 0}', record, b"no json", b'{"n": 2, "v": null}', record]):
        decoded = reader.read(pa.array(records, pa.binary()))
        decoded.rows.validate(full=True)
        places = [place for place, one in enumerate(records) if one == record]
        rows = dict(zip(decoded.source.to_pylist(), decoded.rows.column("v").to_pylist(), strict=True))
        if value is FAULT:
            assert not set(places) & set(rows)
            found = [fault for fault in decoded.faults if fault.index in places]
            assert [fault.code for fault in found] == ["CoercionError"] * len(places)
            assert found[0].message.startswith("column v")
        else:
            assert [rows[place] for place in places] == [value] * len(places)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("array<int", "needs '>'"),
        ("array<int>>", "does not end at '>'"),
        ("map<int>", "needs ','"),
        ("map<array<int>,int>", "keys of a map"),
        ("struct<>", "needs name:type"),
        ("struct<a:int,A:int>", "has A twice"),
        ("struct<a:varchar>", "type varchar is not supported"),
        ("array<" * 80 + "int" + ">" * 80, "nested more than"),
        ("uniontype<int,string>", "uniontype is not supported"),
    ],
)
def test_types_that_are_none(kind: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        arrow_type(kind)


def kinds(depth: int = 3) -> st.SearchStrategy[str]:
    plain = st.sampled_from(["int", "bigint", "double", "boolean", "string"])
    if not depth:
        return plain
    inner = kinds(depth - 1)
    names = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3, unique=True)
    structs = names.flatmap(lambda keys: st.tuples(*(inner.map(lambda kind, key=key: f"{key}:{kind}") for key in keys)))
    return st.one_of(
        plain,
        inner.map(lambda kind: f"array<{kind}>"),
        inner.map(lambda kind: f"map<string,{kind}>"),
        structs.map(lambda parts: f"struct<{','.join(parts)}>"),
    )


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.sampled_from([1.5, 2.0, "x", "3", ""])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "c", "other"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def like(kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Values that mostly fit."""
    if pa.types.is_list(kind):
        fits: st.SearchStrategy[Any] = st.lists(like(kind.value_type), max_size=3)
    elif pa.types.is_map(kind):
        fits = st.dictionaries(st.sampled_from(["a", "K", "é"]), like(kind.item_type), max_size=3)
    elif pa.types.is_struct(kind):
        fits = st.fixed_dictionaries({}, optional={part.name: like(part.type) for part in kind})
    elif pa.types.is_string(kind):
        fits = st.text(max_size=4)
    elif pa.types.is_boolean(kind):
        fits = st.booleans()
    else:
        fits = st.integers(-9, 9)
    return st.one_of(fits, fits, fits, fits, st.none(), ANYTHING)


class Misfit(Exception):
    pass


def reference(value: Any, kind: pa.DataType) -> Any:
    """One value at a time, by the rules as `connectors.formats.json` writes them down."""
    if value is None:
        return None
    if pa.types.is_list(kind):
        if not isinstance(value, list):
            raise Misfit
        return [reference(one, kind.value_type) for one in value]
    if pa.types.is_map(kind):
        if not isinstance(value, dict):
            raise Misfit
        return [(key, reference(one, kind.item_type)) for key, one in value.items()]
    if pa.types.is_struct(kind):
        if not isinstance(value, dict):
            raise Misfit
        return {part.name: reference(value.get(part.name), part.type) for part in kind}
    if pa.types.is_string(kind):
        return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, list | dict):
        raise Misfit
    if pa.types.is_boolean(kind):
        return value.lower() in ("true", "t", "yes", "y", "1") if isinstance(value, str) else bool(value)
    try:
        number = float(value)
    except ValueError as error:
        raise Misfit from error
    if pa.types.is_integer(kind) and number != int(number):
        raise Misfit
    return number


@given(
    kinds()
    .filter(lambda kind: "<" in kind)
    .flatmap(lambda kind: st.tuples(st.just(kind), st.lists(like(arrow_type(kind)), max_size=6)))
)
def test_any_nested_type_reads_as_its_values_one_by_one(case: tuple[str, list[Any]]) -> None:
    text, values = case
    kind = arrow_type(text)
    records = [json.dumps({"v": value}, ensure_ascii=False).encode() for value in values]
    decoded = decode_json(pa.array(records, pa.binary()), [Column("v", kind)])
    decoded.rows.validate(full=True)
    expected = {}
    for number, value in enumerate(values):
        try:
            expected[number] = reference(value, kind)
        except Misfit:
            pass
    found = dict(zip(decoded.source.to_pylist(), decoded.rows.column(0).to_pylist(), strict=True))
    assert found == expected
    assert [fault.index for fault in decoded.faults] == sorted(set(range(len(values))) - set(expected))


BAD = [b'{"commits": {"id": "a"}}', b'{"repository": {"id": "many"}}', b'{"commits": [{"author": "Codertocat"}]}', b"{"]


async def delivered(folder: Path, serializer: dict[str, Any]) -> Path:
    """The one file that webhooks became; what does not fit is in the error output, as it was."""
    async with House(folder) as house:
        await register(house, list(WEBHOOK.items()))
        members = conversion()
        members["DataFormatConversionConfiguration"]["OutputFormatConfiguration"] = {"Serializer": serializer}
        await house.create(size=64, interval=5, **members)
        await house.put("firehose/flights", [*webhooks(300), *BAD])
        await house.until(house.delivered, step_s=1)
        (errors,) = (text for name, text in house.objects().items() if "format-conversion-failed" in name)
        lines = [json.loads(line) for line in errors.splitlines()]
        assert sorted(base64.b64decode(line["rawData"]) for line in lines) == sorted(BAD)
        messages = {line["lastErrorMessage"] for line in lines}
        assert 'column commits[].author: "\\"Codertocat\\"" cannot become STRUCT' in messages
        assert 'column repository.id: "many" cannot become BIGINT' in messages
        assert not house.findings()
        (path,) = (path for path in (folder / "buckets" / "lake").rglob("*") if path.suffix in (".parquet", ".orc"))
        return path


def expected() -> list[dict[str, Any]]:
    """What the webhooks say themselves."""
    return [json.loads(record) for record in webhooks(300)]


async def test_webhooks_as_parquet_for_duckdb_and_polars(tmp_path: Path) -> None:
    path = await delivered(tmp_path, {"ParquetSerDe": {}})
    events = expected()
    names = duckdb.sql(
        f"SELECT file FROM (SELECT unnest(c.added) AS file FROM (SELECT unnest(commits) AS c FROM '{path}'))"
    ).fetchall()
    assert sorted(name for (name,) in names) == sorted(
        file for event in events for commit in event.get("commits", ()) for file in commit["added"]
    )
    languages = duckdb.sql(
        f"SELECT repository.owner.login, repository['language'], count(*) FROM '{path}' GROUP BY ALL"
    ).fetchall()
    assert sum(count for _, _, count in languages) == 300
    assert {login for login, _, _ in languages} == {"Codertocat"}
    assert {language for _, language, _ in languages} == {"Ruby", "Python", None}
    (merged,) = duckdb.sql(f"SELECT count(pull_request.merged_at) FROM '{path}'").fetchall()
    assert merged[0] == sum(bool(event.get("pull_request", {}).get("merged_at")) for event in events)
    frame = pl.read_parquet(path)
    properties = [event.get("custom_properties") for event in events]
    assert [None if one is None else dict(_entries(one)) for one in frame["custom_properties"].to_list()] == properties
    assert frame["repository"].struct.field("topics").to_list() == [event["repository"]["topics"] for event in events]
    assert frame["number"].to_list() == [event.get("number") for event in events]
    labels = frame["pull_request"].struct.field("labels").drop_nulls().list.len().to_list()
    assert labels == [len(event["pull_request"]["labels"]) for event in events if "pull_request" in event]
    schema = pq.read_schema(path)
    assert [field.type for field in schema] == [arrow_type(kind) for kind in WEBHOOK.values()]


def _entries(found: Any) -> list[tuple[str, str]]:
    """Of a map as polars shows it: a dict, or key and value in structs."""
    if isinstance(found, dict):
        return list(found.items())
    return [tuple(entry.values()) if isinstance(entry, dict) else tuple(entry) for entry in found]


async def test_webhooks_as_orc_for_pyorc(tmp_path: Path) -> None:
    path = await delivered(tmp_path, {"OrcSerDe": {}})
    events = expected()
    with path.open("rb") as file:
        reader = pyorc.Reader(file, struct_repr=pyorc.StructRepr.DICT)
        assert str(reader.schema) == f"struct<{','.join(f'{name}:{kind}' for name, kind in WEBHOOK.items())}>"
        rows = list(reader)
    assert [row["number"] for row in rows] == [event.get("number") for event in events]
    for row, event in zip(rows, events, strict=True):
        assert row["repository"]["topics"] == event["repository"]["topics"]
        assert row["custom_properties"] == event.get("custom_properties")
        commits = event.get("commits")
        assert (row["commits"] is None) == (commits is None)
        assert [commit["author"]["name"] for commit in row["commits"] or ()] == ["Codertocat"] * len(commits or ())


async def test_a_type_that_is_none_is_refused_when_the_stream_is_made(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await register(house, [("a", "array<struct<x:int>")])
        with pytest.raises(
            InvalidArgument, match=r"Column a of table air\.flights: type array<struct<x:int> needs '>'"
        ):
            await house.create(size=64, **conversion())
