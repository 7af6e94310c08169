"""Functions that are statements: SQL over the batch, a jq program a record, and functions one after the other."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.functions.errors import FunctionError, StatementError
from connectors.functions.registry import Functions
from connectors.functions.sql_statement import SqlStatement
from streams.core.errors import SettingsError
from streams.core.settings import FunctionSettings

COLUMNS = "city VARCHAR, km DOUBLE, seen TIMESTAMP"


def run(sql: str, *records: bytes, columns: str = COLUMNS) -> tuple[list[Any], dict[int, str]]:
    """What each record becomes: its JSON, None where it is dropped or failed; and why it failed."""
    statement = SqlStatement(sql, columns)
    made, failed = statement.run(records)
    statement.close()
    return [json.loads(made[index]) if index in made else None for index in range(len(records))], failed


def test_a_select_makes_typed_rows_and_drops_what_where_leaves_out() -> None:
    rows, failed = run(
        "SELECT upper(city) AS city, round(km / 1.609344, 1) AS miles, year(seen) AS year FROM records WHERE km > 1",
        b'{"city": "Oslo", "km": 8.04672, "seen": "2026-01-02T03:04:05Z", "more": [1]}',
        b'{"city": "Rome", "km": 1}',
        b'{"km": "16.09344"}',
    )
    assert rows == [
        {"city": "OSLO", "miles": 5.0, "year": 2026},
        None,
        {"city": None, "miles": 10.0, "year": None},
    ]
    assert not failed


def test_a_star_is_the_declared_columns_and_record_is_all_of_it() -> None:
    rows, _ = run("SELECT * FROM records", b'{"city": "Oslo", "more": 1}')
    assert rows == [{"city": "Oslo", "km": None, "seen": None}]
    rows, _ = run("SELECT *, record FROM records AS r WHERE r.city = 'Oslo'", b'{"city": "Oslo", "more": 1}')
    assert rows == [{"city": "Oslo", "km": None, "seen": None, "record": '{"city": "Oslo", "more": 1}'}]
    statement = SqlStatement("SELECT record FROM records WHERE record ->> '$.more' = '1'")
    made, failed = statement.run([b'{"more": 1}', b'{"more":2}', b"[]"])
    assert (made, list(failed)) == ({0: b'{"more": 1}'}, [2])


def test_a_record_fails_alone() -> None:
    records = [b'{"city": "%d"}' % n for n in range(100)]
    records[17] = b'{"city": "x"}'
    records[42] = b"no json"
    records[71] = b'{"km": "far"}'
    rows, failed = run("SELECT CAST(city AS INTEGER) AS n FROM records", *records)
    assert sorted(failed) == [17, 42, 71]
    assert "Could not convert string 'x' to INT32" in failed[17]
    assert failed[42].startswith("InvalidJson")
    assert failed[71].startswith("CoercionError")
    assert [row["n"] for row in rows if row] == [n for n in range(100) if n not in (17, 42, 71)]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT count(*) FROM records", "a record makes one row or none"),
        ("SELECT city FROM records GROUP BY city", "GROUP BY"),
        ("SELECT city FROM records ORDER BY city", "ORDER BY"),
        ("SELECT DISTINCT city FROM records", "DISTINCT"),
        ("SELECT city FROM records LIMIT 1", "LIMIT"),
        ("SELECT a.city FROM records a JOIN records b ON true", "JOIN"),
        ("SELECT a.city FROM records a, records b", "JOIN"),
        ("SELECT unnest([1, 2]) FROM records", "a record makes one row or none"),
        ("SELECT row_number() OVER () FROM records", "a record makes one row or none"),
        ("SELECT (SELECT 1) FROM records", "a record makes one row or none"),
        ("WITH x AS (SELECT 1) SELECT city FROM records", "WITH"),
        ("SELECT city FROM elsewhere", "selects from records"),
        ("SELECT * FROM read_csv('/etc/passwd')", "selects from records"),
        ("SELECT 1", "selects from records"),
        ("SELECT city FROM records; SELECT city FROM records", "a statement is one SELECT"),
        ("DROP TABLE records", "a statement is one SELECT"),
        ("SELECT city FROM records UNION ALL SELECT city FROM records", "a statement is one SELECT"),
        ("SELECT FROM WHERE", "line 1, column"),
        ("SELECT town FROM records", 'Referenced column "town" not found'),
        ("SELECT no_such(city) FROM records", "no_such"),
    ],
)
def test_what_is_no_statement(sql: str, words: str) -> None:
    with pytest.raises(StatementError, match=words.replace("(", r"\(")):
        SqlStatement(sql, COLUMNS)


@pytest.mark.parametrize(
    ("columns", "words"), [("city", "columns 'city'"), ("city NOTYPE", "NOTYPE"), ("record VARCHAR", "record itself")]
)
def test_columns_that_cannot_be(columns: str, words: str) -> None:
    with pytest.raises(StatementError, match=words):
        SqlStatement("SELECT * FROM records", columns)


def test_a_statement_reaches_nothing_outside() -> None:
    with pytest.raises(StatementError, match="JOIN"):
        SqlStatement("SELECT content FROM records, read_text('/etc/hostname')")
    with pytest.raises(StatementError, match="one row or none"):
        SqlStatement("SELECT city FROM records WHERE EXISTS (SELECT * FROM read_text('/etc/hostname'))", COLUMNS)


@given(st.lists(st.binary(max_size=12) | st.integers(-5, 5), max_size=30))
def test_every_record_is_made_dropped_or_failed(given_: list[bytes | int]) -> None:
    records = [b'{"km": %d}' % one if isinstance(one, int) else one for one in given_]
    statement = SqlStatement("SELECT km, 10 // CAST(km AS INTEGER) AS q FROM records WHERE km <> 3", "km DOUBLE")
    made, failed = statement.run(records)
    assert not set(made) & set(failed)
    for index, km in enumerate(given_):
        if isinstance(km, int):
            assert (index in made, index in failed) == (km not in (0, 3), km == 0)


Make = Callable[..., Functions]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[Functions] = []

    def functions(**configured: FunctionSettings) -> Functions:
        made.append(Functions(configured, timeout_s=5))
        return made[-1]

    yield functions
    for one in made:
        await one.close()


def event(*data: bytes) -> bytes:
    records = [{"recordId": f"r{n}", "data": base64.b64encode(one).decode()} for n, one in enumerate(data)]
    return json.dumps({"invocationId": "i", "records": records}).encode()


def told(answer: bytes) -> list[tuple[str, str, Any]]:
    return [
        (
            one["recordId"],
            one["result"],
            base64.b64decode(one["data"]) if one.get("data") is not None else one.get("errorMessage"),
        )
        for one in json.loads(answer)["records"]
    ]


async def test_the_contract_of_functions(make: Make) -> None:
    functions = make(
        miles=FunctionSettings(sql="SELECT km * 2 AS double FROM records WHERE km > 0", columns="km INTEGER"),
        pick=FunctionSettings(jq="if .km > 0 then {k: .km} else empty end"),
    )
    data = (b'{"km": 2}', b'{"km": -1}', b'{"km": "x"}')
    (first, second, third) = told(await functions.invoke("miles", event(*data)))
    assert (first, second[:2], third[:2]) == (
        ("r0", "Ok", b'{"double":4}'),
        ("r1", "Dropped"),
        ("r2", "ProcessingFailed"),
    )
    assert "CoercionError" in third[2]
    assert told(await functions.invoke("pick", event(b'{"km": 2}', b'{"km": -1}', b"no")))[:2] == [
        ("r0", "Ok", b'{"k":2}'),
        ("r1", "Dropped", None),
    ]
    with pytest.raises(FunctionError, match="InvalidEvent"):
        await functions.invoke("pick", b"[]")


async def test_a_statement_that_takes_too_long_is_ended(make: Make) -> None:
    slow = "SELECT list_sum(list_transform(range(200000000), x -> x * 2)) AS n FROM records"
    functions = make(
        slow=FunctionSettings(sql=slow, timeout_s=1, memory_mb=1024),
        runs=FunctionSettings(jq="last(range(1e12))", timeout_s=1),
    )
    # Time or memory ends it, whichever is used up first: in a process of its own.
    outcome = await functions.call("slow", event(b"{}"))
    why = outcome.answer.decode() if outcome.fault is None else outcome.fault.message
    assert re.search(r"timed out after 1\.00 seconds|signal: killed|[Mm]emory", why), why
    ((_, result, why),) = told(await functions.invoke("runs", event(b"{}")))
    assert (result, "timed out" in why) == ("ProcessingFailed", True)


async def test_steps_one_after_the_other(make: Make, tmp_path: Any) -> None:
    (tmp_path / "code.py").write_text(
        "def handler(event, context):\n"
        "    return {'records': [{'recordId': r['recordId'], 'result': 'Ok', 'data': r['data'],\n"
        "        'metadata': {'partitionKeys': {'k': 'v'}}} for r in event['records']]}\n"
    )
    functions = make(
        keyed=FunctionSettings(directory=str(tmp_path), handler="code.handler"),
        far=FunctionSettings(sql="SELECT km FROM records WHERE km > 1", columns="km INTEGER"),
        pick=FunctionSettings(jq='if .km == 7 then error("seven") else {k: .km} end'),
        all=FunctionSettings(steps=("keyed", "far", "pick")),
        lost=FunctionSettings(steps=("keyed", "nothing")),
    )
    answer = json.loads(await functions.invoke("all", event(b'{"km": 1}', b'{"km": 2}', b"no", b'{"km": 7}')))
    found = {one["recordId"]: one for one in answer["records"]}
    assert {name: one["result"] for name, one in found.items()} == {
        "r0": "Dropped",
        "r1": "Ok",
        "r2": "ProcessingFailed",
        "r3": "ProcessingFailed",
    }
    assert base64.b64decode(found["r1"]["data"]) == b'{"k":2}'
    assert found["r1"]["metadata"] == {"partitionKeys": {"k": "v"}}
    assert "seven" in found["r3"]["errorMessage"]
    with pytest.raises(FunctionError, match="Function not found: nothing"):
        await functions.invoke("lost", event(b"{}"))


async def test_a_step_that_answers_a_record_twice_is_told_so(make: Make, tmp_path: Any) -> None:
    (tmp_path / "code.py").write_text(
        "def handler(event, context):\n"
        "    one = {'recordId': 'r0', 'result': 'Ok', 'data': event['records'][0]['data']}\n"
        "    return {'records': [one, one]}\n"
    )
    functions = make(
        twice=FunctionSettings(directory=str(tmp_path), handler="code.handler"),
        all=FunctionSettings(steps=("twice",)),
    )
    assert told(await functions.invoke("all", event(b"1", b"2"))) == [("r0", "Ok", b"1"), ("r0", "Ok", b"1")]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"f": FunctionSettings(sql="SELECT 1")}, "function f: a statement selects from records"),
        ({"f": FunctionSettings(jq="{")}, "function f: not a jq program"),
        ({"f": FunctionSettings(jq=".", sql="SELECT 1")}, "exactly one of"),
        ({"f": FunctionSettings(steps=("f",))}, "step f has steps itself"),
        ({"f": FunctionSettings(steps=("g",)), "g": FunctionSettings(steps=("h",))}, "step g has steps itself"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, FunctionSettings], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Functions(settings, timeout_s=5)
