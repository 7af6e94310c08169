"""What is computed over Arrow without DuckDB is what DuckDB gives: values, order, types. And what nobody reads is not kept."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics import direct, parse
from analytics.compiler import compile_program
from analytics.operators.top import Top
from connectors.formats import json_scan
from connectors.formats.schema import Column

COLUMNS = {
    "K": pa.int32(),
    "N": pa.int64(),
    "M": pa.int64(),
    "S": pa.string(),
    "T": pa.timestamp("ms"),
    "F": pa.float64(),
}
DECLARED = "k INTEGER, n BIGINT, m BIGINT, s VARCHAR(4), t TIMESTAMP, f DOUBLE"

QUERIES = (
    (DECLARED, "k, n, m, s, t, f FROM src"),
    (DECLARED, "k, n, m, s, t, f FROM src WHERE k = 2 OR NOT n >= 0 OR s IS NULL"),
    (DECLARED, "k, n, m, s, t, f FROM src WHERE k IN (0, 2, -1) AND s <> 'ab'"),
    ("n BIGINT, m BIGINT", "m, n FROM src WHERE k = 1 AND MOD(n, 7) = 0"),
    ("n BIGINT, r BIGINT", "n, MOD(n, 3) FROM src WHERE n IS NOT NULL AND n < 1000"),
    ("p DECIMAL(23, 3), n BIGINT", "0.908 * n, n FROM src WHERE NOT (n IS NULL)"),
)
LARGE = st.one_of(st.integers(-20, 20), st.sampled_from([2**63 - 1, -(2**63), 2**62, 10**15]))
ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(-1, 3)),
        st.one_of(st.none(), LARGE),
        st.one_of(st.none(), LARGE),
        st.one_of(st.none(), st.sampled_from(["", "ab", "ä€", "abcd", "abcde", "€uro€"])),
        st.one_of(st.none(), st.integers(0, 10**12)),
        st.one_of(st.none(), st.sampled_from([0.0, -1.5, float("inf")])),
    ),
    max_size=12,
)


def compiled(sql: str, pump: int = 0) -> Any:
    columns = [Column(name, kind) for name, kind in COLUMNS.items()]
    return compile_program(parse(sql), {"SRC": columns}, {}).pumps[pump]


@pytest.fixture(scope="module")
def pumps() -> list[Any]:
    made = [
        compiled(f"CREATE STREAM o ({shape}); CREATE PUMP p AS INSERT INTO o SELECT STREAM {select}")
        for shape, select in QUERIES
    ]
    assert all(direct.compiled(pump.rows) is not None for pump in made), "all of them are computed over Arrow"
    return made


def table(rows: list[tuple[Any, ...]]) -> pa.Table:
    values = list(zip(*rows, strict=True)) or [[]] * len(COLUMNS)
    arrays = {
        f"c{number}": pa.array(values[number], pa.int64() if pa.types.is_timestamp(kind) else kind).cast(kind)
        for number, kind in enumerate(COLUMNS.values())
    }
    return pa.table({"rt": pa.array(range(len(rows)), pa.int64()).cast(pa.timestamp("ms")), **arrays})


@settings(max_examples=30)
@given(ROWS, st.integers(0, 12))
def test_the_rows_are_those_of_duckdb(pumps: list[Any], rows: list[tuple[Any, ...]], cut: int) -> None:
    source = pa.concat_tables([table(rows[:cut]), table(rows[cut:])])
    with duckdb.connect() as connection:
        connection.register("src", source)
        for pump in pumps:
            query = direct.compiled(pump.rows)
            assert query is not None
            asked = connection.sql(f"{pump.rows.select('src')} LIMIT 0").to_arrow_table().schema
            made = query.rows(source, lambda asked=asked: asked)
            if made is not None:
                assert made.schema == asked
                assert made.to_pylist() == connection.sql(pump.rows.select("src")).to_arrow_table().to_pylist()
            else:
                longest = max((len(row[3].encode()) for row in rows if row[3]), default=0)
                largest = max((abs(row[1]) for row in rows if row[1] is not None), default=0)
                assert longest > 4 or largest > 2**63 // 1000, "a row was too much for it"


_AT = "POSITION('b' IN s)"
TEXTS = (
    "SUBSTRING(s FROM 2 FOR 3), SUBSTRING(s FROM 2), SUBSTRING(s FROM 0 FOR 2) FROM src",
    f"SUBSTRING(s FROM {_AT} + 1), SUBSTRING(s FROM 1 FOR {_AT} - 1), SUBSTRING(s FROM {_AT} FOR CHAR_LENGTH(s) - 2) FROM src",
    "SUBSTRING(s FROM POSITION('ab' IN s) + 2), UPPER(s), LOWER(s) || '/' || SUBSTRING(s FROM 2) FROM src "
    "WHERE POSITION('a' IN s) > 0",
    "SUBSTRING('abxab' FROM POSITION('b' IN s) + 1), SUBSTRING(s FROM 1 FOR POSITION('/' IN s || '/') - 1), s FROM src",
    "LOWER(s), CASE WHEN LOWER(s) = 'abc' THEN 'x' WHEN n > 0 THEN s || s WHEN k = 1 THEN CAST(t AS VARCHAR(23)) END, "
    "CASE WHEN s IS NULL THEN 'none' ELSE SUBSTRING(s FROM 3) END FROM src WHERE LOWER(s) <> 'b' OR k IN (1, 2)",
    "SUBSTRING(CAST(t AS VARCHAR(23)) FROM 1 FOR 10), SUBSTRING(CAST(t AS VARCHAR(23)) FROM 12 FOR 5), CAST(t AS VARCHAR(23)) "
    "FROM src WHERE UPPER(s) IN ('AB', 'XABX', 'ÄB') OR k < 2",
    "CASE WHEN EXTRACT(HOUR FROM t) >= 8 AND EXTRACT(MINUTE FROM t) < 30 THEN 'day' ELSE 'night' END, s, s FROM src "
    "WHERE 0.908 * n > 3 OR CHAR_LENGTH(s) = 2",
)
LETTERS = st.text("abABx/", max_size=6)
TEXT_ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(-1, 3)),
        st.one_of(st.none(), st.integers(-20, 20)),
        st.just(1),
        st.one_of(st.none(), LETTERS, LETTERS.map(lambda short: 40 * "x" + short + 40 * "ab")),
        st.one_of(st.none(), st.integers(-9_223_372_036_854, 9_223_372_036_854), st.integers(0, 200_000)),
        st.just(0.5),
    ),
    max_size=40,
)


@pytest.fixture(scope="module")
def on_texts() -> list[Any]:
    assert json_scan.load(), "the tests have numba"
    shape = "a VARCHAR(60), b VARCHAR(60), c VARCHAR(4)"
    made = [
        compiled(f"CREATE STREAM o ({shape}); CREATE PUMP p AS INSERT INTO o SELECT STREAM {select}")
        for select in TEXTS
    ]
    assert all(direct.compiled(pump.rows) is not None for pump in made), "all of them are computed without DuckDB"
    return made


@settings(max_examples=25)
@given(TEXT_ROWS, st.integers(0, 40), st.integers(0, 3))
def test_texts_are_those_of_duckdb(on_texts: list[Any], rows: list[tuple[Any, ...]], cut: int, offset: int) -> None:
    source = pa.concat_tables([table(rows[:cut]), table(rows[cut:])])
    source = pa.concat_tables([table(rows[:offset]), source]).combine_chunks().slice(min(offset, len(rows)))
    with duckdb.connect() as connection:
        connection.register("src", source)
        for pump in on_texts:
            query = direct.compiled(pump.rows)
            assert query is not None
            wanted = connection.sql(pump.rows.select("src")).to_arrow_table()
            made = query.rows(source, lambda wanted=wanted: wanted.schema)
            assert made is not None
            assert made.schema == wanted.schema
            assert made.to_pylist() == wanted.to_pylist()


def test_texts_that_are_not_ascii_are_left_to_duckdb_for_a_while(on_texts: list[Any]) -> None:
    query = direct.compiled(on_texts[0].rows)
    assert query is not None
    plain, other = table([(1, 2, 3, "abc", 4, 0.5)]), table([(1, 2, 3, "äbc", 4, 0.5)])
    found = query.rows(
        plain, lambda: pa.schema([("rt", pa.timestamp("ms"))] + [(f"c{n}", pa.string()) for n in range(3)])
    )
    assert found is not None
    assert query.rows(other, lambda: found.schema) is None
    assert [query.rows(plain, lambda: found.schema) is None for _ in range(direct._SKIPPED_BATCHES)] == [
        True
    ] * direct._SKIPPED_BATCHES
    assert query.rows(plain, lambda: found.schema) == found


def test_years_that_duckdb_may_refuse_are_left_to_duckdb(on_texts: list[Any]) -> None:
    query = direct.compiled(on_texts[5].rows)
    assert query is not None
    assert query.rows(table([(1, 2, 3, "ab", 9_223_372_036_855, 0.5)]), lambda: pa.schema([])) is None


def test_without_the_compiled_code_texts_are_left_to_duckdb(
    on_texts: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    query = direct.compiled(on_texts[0].rows)
    assert query is not None
    monkeypatch.setattr(json_scan, "texts", lambda records: None)
    assert query.rows(table([(1, 2, 3, "ab", 4, 0.5)]), lambda: pa.schema([])) is None


def test_what_can_fail_is_left_to_duckdb() -> None:
    for select in ("n / m FROM src", "n + 1 FROM src", "n FROM src WHERE MOD(n, m) = 0"):
        pump = compiled(f"CREATE STREAM o (n BIGINT); CREATE PUMP p AS INSERT INTO o SELECT STREAM {select}")
        assert direct.compiled(pump.rows) is None, select


def test_types_that_are_not_duckdbs_are_left_to_it(pumps: list[Any]) -> None:
    source = table([(1, 2, 3, "a", 4, 0.5)])
    for name, kind in (("c3", pa.large_string()), ("c4", pa.timestamp("us"))):
        other = source.set_column(source.column_names.index(name), name, source.column(name).cast(kind))
        query = direct.compiled(pumps[0].rows)
        assert query is not None
        assert query.rows(other, lambda other=other: other.schema) is None
    pump = compiled("CREATE STREAM o (n BIGINT); CREATE PUMP p AS INSERT INTO o SELECT STREAM n FROM src WHERE f > 1")
    query = direct.compiled(pump.rows)
    assert query is not None
    assert query.rows(source, lambda: source.schema) is None, "numbers with a point are compared by DuckDB"


def test_a_query_that_numbers_rows_keeps_what_is_read() -> None:
    sql = """CREATE TABLE o (n BIGINT) RETAIN 10 KEYS;
    CREATE PUMP p AS INSERT INTO o SELECT STREAM n FROM (
      SELECT STREAM *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY t DESC) AS place FROM src) WHERE place <= 2"""
    columns = [Column(name, kind) for name, kind in COLUMNS.items()]
    plan = compile_program(parse(sql), {"SRC": columns}, {})
    (operator,) = (pump.operator for pump in plan.pumps if pump.operator is not None)
    assert isinstance(operator, Top)
    kept = [name for name, _ in operator.buffer.columns]
    assert plan.inputs["SRC"].used == {"c0", "c1", "c4"}, "the key, what is read, the order"
    assert sorted(kept) == ["c0", "c1", "c4"]
