"""The compiled JSON reader gives exactly the rows and faults that DuckDB gives, whatever the records are."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.formats import json as json_format
from connectors.formats import json_scan
from connectors.formats.json import decode_json
from connectors.formats.schema import Column, Decoded

pytest.importorskip("numba", reason="the compiled reader needs numba: pip install 'headrace[fast]'")

MS = pa.timestamp("ms")
KINDS = [
    pa.int8(),
    pa.int32(),
    pa.int64(),
    pa.float32(),
    pa.float64(),
    pa.string(),
    pa.bool_(),
    MS,
    pa.date32(),
    pa.decimal128(5, 2),
    pa.decimal128(18, 6),
    pa.decimal128(9, 0),
]
LONG = "k" * 90
KEYS = ["a", "b", "A", "ab", "x.y", "é", "", LONG]


@pytest.fixture(scope="module", autouse=True)
def _kernel() -> Iterator[None]:
    assert json_scan.load()
    yield
    json_format._plan.cache_clear()


def slowly(data: pa.Array, columns: list[Column]) -> Decoded:
    """What DuckDB reads."""
    with json_scan.used(False):
        json_format._plan.cache_clear()
        return decode_json(data, columns)


def scanned(data: pa.Array, columns: list[Column]) -> Decoded:
    json_format._plan.cache_clear()
    return decode_json(data, columns)


def assert_alike(data: pa.Array, columns: list[Column]) -> Decoded:
    wanted, found = slowly(data, columns), scanned(data, columns)
    assert found.faults == wanted.faults
    assert found.source.equals(wanted.source)
    assert found.rows.schema.equals(wanted.rows.schema)
    found.rows.validate(full=True)
    for column in columns:
        ours, theirs = found.rows.column(column.name), wanted.rows.column(column.name)
        assert repr(ours.to_pylist()) == repr(theirs.to_pylist()), column  # 0.0 and -0.0 are told apart
    return found


def left(data: list[bytes], columns: list[Column]) -> list[int]:
    """Which records are left to DuckDB."""
    plan = json_format._plan(tuple(columns))
    result = json_scan.scan(plan.scan, pa.array(data, pa.binary()))
    assert result is not None
    return result.left.tolist()


TIMES = st.one_of(
    st.datetimes().map(lambda t: t.isoformat(timespec="milliseconds")),
    st.datetimes().map(lambda t: t.isoformat(" ", timespec="seconds") + "Z"),
    st.dates().map(str),
    st.builds(
        lambda *parts: "{}-{}-{}{}{}:{}:{}{}".format(*parts),
        st.sampled_from(["0000", "0001", "2024", "1900", "9999", "+201", "20 4"]),
        st.sampled_from(["00", "02", "12", "13", "1a"]),
        st.sampled_from(["00", "28", "29", "30", "31", "32"]),
        st.sampled_from(["T", " ", "t", ""]),
        st.sampled_from(["00", "23", "24", "1:"]),
        st.sampled_from(["00", "59", "60"]),
        st.sampled_from(["00", "59", "60", "6"]),
        st.sampled_from(["", ".5", ".123", ".12a", ".123456", "Z", ".123Z", "+02:00", "z"]),
    ),
)
TEXTS = st.one_of(
    st.text(max_size=40),
    TIMES,
    st.text("0123456789.-+eE", max_size=12),
    st.sampled_from(["true", "false", "null", "TRUE", "a" * 31, "a" * 32, "a" * 33, "é" * 20, "𝄞", "\x7f", " 5 "]),
)
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(-300, 300).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(-(10**9), 10**9, places=6).map(str),
    st.text("0123456789", min_size=1, max_size=24),
    st.builds("{}.{}".format, st.integers(-(10**9), 10**9), st.text("0123456789", max_size=34)),
    st.sampled_from(
        ["-0", "0", "-0.0", "0.0", "01", "-01", "+1", "1.", ".5", "-", "1e5", "1E400", "-1e-400", "1.5e", "0x10"]
    ),
    st.sampled_from(
        ["NaN", "Infinity", "-inf", "9007199254740993", "999999999999999999", "1000000000000000000", "127", "128"]
    ),
)
SIMPLE = st.one_of(
    NUMBERS,
    TEXTS.map(json.dumps),
    TEXTS.map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(
        ["true", "false", "null", "nul", "True", "tru", "", '"', '"\\u00e9"', '"\\n"', '"a\tb"', '"\\"', "[]", "{}"]
    ),
)
BLANKS = st.sampled_from(["", "", "", " ", "\n\t", "  "])


def _member(key: str, before: str, middle: str, after: str, value: str) -> str:
    return f"{before}{json.dumps(key, ensure_ascii=False)}{middle}:{after}{value}"


def _objects(values: st.SearchStrategy[str], keys: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.builds(_member, keys, BLANKS, BLANKS, BLANKS, values)
    return st.builds(
        lambda listed, comma, end: "{" + comma.join(listed) + end,
        st.lists(members, max_size=5),
        st.sampled_from([",", ",", ",", " , ", ",,", ";"]),
        st.sampled_from(["}", "}", "}", "}", " }", "}\n ", ",}", "", "]", "} 1", "}}"]),
    )


VALUES = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda listed: "[" + ", ".join(listed) + "]"),
        st.lists(inner, max_size=3).map(lambda listed: "[" + ",".join(listed)),
        _objects(inner, st.sampled_from(["a", "z"])),
    ),
    max_leaves=5,
)
RECORDS = st.one_of(
    _objects(VALUES, st.sampled_from(KEYS)).map(str.encode),
    _objects(VALUES, st.sampled_from(KEYS)).map(str.encode),
    VALUES.map(str.encode),
    st.binary(max_size=12),
)


def _columns(chosen: list[tuple[str, pa.DataType]]) -> list[Column]:
    return [Column(f"c{n}", kind, f'$."{key}"' if key else None) for n, (key, kind) in enumerate(chosen)]


COLUMNS = st.lists(
    st.tuples(st.sampled_from([key for key in KEYS if key]), st.sampled_from(KINDS)),
    min_size=1,
    max_size=4,
    unique_by=lambda each: each[0],
).map(_columns)


@settings(max_examples=200, deadline=None)
@given(st.lists(RECORDS, max_size=8), COLUMNS)
def test_whatever_the_records_are_both_readers_read_the_same(records: list[bytes], columns: list[Column]) -> None:
    assert_alike(pa.array(records, pa.binary()), columns)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_byte_that_is_wrong_does_not_go_unnoticed(data: st.DataObject) -> None:
    """Records of one shape, as a producer writes them, of which some bytes are replaced, put in or left out."""
    columns = [
        Column("n", pa.int64()),
        Column("t", MS),
        Column("s", pa.string()),
        Column("x", pa.float64()),
        Column("b", pa.bool_()),
    ]
    records = []
    for number in range(data.draw(st.integers(1, 5))):
        record = bytearray(
            b'{"n":%d,"skipped":{"deep":[1,"two",{"x":null}]},"t":"2024-02-29 10:00:00.%03d","s":"text %d","x":%d.25,"b":true}'
            % (number * 1_000, number, number, number)
        )
        for _ in range(data.draw(st.integers(0, 2))):
            at = data.draw(st.integers(0, len(record) - 1))
            byte = data.draw(st.one_of(st.sampled_from(b'"\\{}[],:0-. e\x00\n'), st.integers(0, 255)))
            way = data.draw(st.sampled_from(["replace", "insert", "delete"]))
            if way == "replace":
                record[at] = byte
            elif way == "insert":
                record.insert(at, byte)
            else:
                del record[at]
        records.append(bytes(record))
    assert_alike(pa.array(records, pa.binary()), columns)


@settings(max_examples=100, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=20), st.sampled_from([k for k in KINDS if not pa.types.is_date(k)]))
def test_numbers_are_the_same_to_the_last_bit(numbers: list[str], kind: pa.DataType) -> None:
    assert_alike(pa.array([b'{"a":%s}' % number.encode() for number in numbers], pa.binary()), [Column("a", kind)])


@settings(max_examples=100, deadline=None)
@given(st.lists(TIMES, min_size=1, max_size=20), st.sampled_from([MS, pa.date32()]))
def test_times_are_the_same(times: list[str], kind: pa.DataType) -> None:
    assert_alike(pa.array([b'{"a":"%s"}' % time.encode() for time in times], pa.binary()), [Column("a", kind)])


PLAIN: list[tuple[pa.DataType, str, Any]] = [
    (pa.int8(), "-128", -128),
    (pa.int64(), "999999999999999999", 999999999999999999),
    (pa.int64(), "12345678", 12345678),
    (pa.int64(), "123456789012", 123456789012),
    (pa.float64(), "-12.5", -12.5),
    (pa.float64(), "0.1234567890123456789", 0.1234567890123456789),
    (pa.float32(), "0.1", 0.10000000149011612),
    (pa.string(), '"é 𝄞"', "é 𝄞"),
    (pa.string(), "-17", "-17"),
    (pa.string(), "true", "true"),
    (pa.bool_(), "false", False),
    (MS, '"2024-02-29T10:11:12.345Z"', dt.datetime(2024, 2, 29, 10, 11, 12, 345000)),
    (MS, '"0001-01-01"', dt.datetime(1, 1, 1)),
    (pa.date32(), '"9999-12-31"', dt.date(9999, 12, 31)),
    (pa.int32(), "null", None),
    (pa.decimal128(5, 2), "123.45", Decimal("123.45")),
    (pa.decimal128(5, 2), "-999", Decimal("-999.00")),
    (pa.decimal128(18, 6), "0.000001", Decimal("0.000001")),
]


@pytest.mark.parametrize(("kind", "value", "expected"), PLAIN, ids=lambda v: str(v)[:30])
def test_plain_values_are_read_without_duckdb(kind: pa.DataType, value: str, expected: Any) -> None:
    records = [b'{"a":%s}' % value.encode(), b'{ "b": [1, {"c": "d"}] , "a" : %s }' % value.encode(), b"{}"]
    columns = [Column("a", kind)]
    assert left(records, columns) == []
    found = assert_alike(pa.array(records, pa.binary()), columns)
    assert found.rows.column("a").to_pylist() == [expected, expected, None]


@pytest.mark.parametrize(
    "record",
    [
        b'{"a":"\\u0041"}',
        b'{"a":1,"a":2}',
        b'{"\\u0061":1}',
        b'{"a":1e3}',
        b'{"a":1234567890123456789}',
        b'{"a":"5"}',
        b'{"a":[1]}',
        b'{"b":01}',
        b'{"b":1,}',
        b'{"b":tru}',
        b'{"b":[1,]}',
        b"[1]",
        b"",
    ],
)
def test_what_is_not_plain_is_left_to_duckdb(record: bytes) -> None:
    columns = [Column("a", pa.int64())]
    assert left([b'{"a":1}', record, b'{"a":2}'], columns) == [1]
    assert_alike(pa.array([b'{"a":1}', record, b'{"a":2}'], pa.binary()), columns)


def test_columns_that_no_scan_reads_are_read_by_duckdb() -> None:
    data = pa.array([b'{"a":{"b":1},"d":1.25}'] * 3, pa.binary())
    for columns in (
        [Column("b", pa.int64(), "$.a.b")],
        [Column("d", pa.decimal128(20, 2))],
        [Column("d", pa.float64()), Column("again", pa.string(), "$.d")],
    ):
        assert json_format._plan(tuple(columns)).scan is None
        assert len(assert_alike(data, columns).rows) == 3


def test_a_slice_is_read_in_its_place_up_to_the_last_byte() -> None:
    data = pa.array([b'{"a":%d,"s":"%s"}' % (n, b"x" * n) for n in range(100)], pa.binary()).slice(40, 60)
    found = assert_alike(data, [Column("a", pa.int64()), Column("s", pa.string())])
    assert found.rows.column("a").to_pylist() == list(range(40, 100))


@pytest.mark.parametrize("place", ["read", "skipped", "a key", "left"])
@pytest.mark.parametrize("text", ["é".encode(), "𝄞".encode(), b"\xff", b"\xc3", b"\xed\xa0\x80"])
def test_what_is_not_utf_8_is_found_wherever_it_stands(place: str, text: bytes) -> None:
    filled = text + b"x" * 40
    record = {
        "read": b'{"a":"%s"}' % filled,
        "skipped": b'{"b":"%s","a":"1"}' % filled,
        "a key": b'{"%s":1,"a":"1"}' % filled,
        "left": b'{"b":"%s","a":"\\n"}' % filled,
    }[place]
    found = assert_alike(pa.array([b'{"a":"x"}', record, b'{"a":"y"}'], pa.binary()), [Column("a", pa.string())])
    assert [fault.code for fault in found.faults] == ([] if _is_utf_8(text) else ["InvalidEncoding"])


def _is_utf_8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_a_producer_whose_records_are_not_plain_is_not_tried_again_and_again() -> None:
    columns = [Column("a", pa.string())]
    json_format._plan.cache_clear()
    plan = json_format._plan(tuple(columns))
    escaped = pa.array([b'{"a":"\\n"}'] * 10, pa.binary())
    assert decode_json(escaped, columns).rows.column("a").to_pylist() == ["\n"] * 10
    assert plan.scan is not None
    assert [plan.scan.useful() for _ in range(json_scan._SKIPPED_BATCHES + 1)] == [
        False
    ] * json_scan._SKIPPED_BATCHES + [True]


def test_both_files_name_the_kinds_alike() -> None:
    from connectors.formats import json_kernel as kernel

    ours = (json_scan._WHOLE, json_scan._REAL, json_scan._TEXT, json_scan._BOOLEAN, json_scan._TIME, json_scan._DATE)
    assert ours == (kernel.WHOLE, kernel.REAL, kernel.TEXT, kernel.BOOLEAN, kernel.TIME, kernel.DATE)
    assert (json_scan._DECIMAL, json_scan._DIGITS) == (kernel.DECIMAL, kernel.DIGITS)
    assert json_scan._BEHIND_BITS == kernel.BEHIND_BITS


@pytest.mark.parametrize(
    "number", ["1234.5", "1000", "-1000.00", "0.001", "0.005", "99999999999999", "123456789012.3456"]
)
def test_decimals_that_do_not_fit_or_are_rounded_are_left(number: str) -> None:
    records = [b'{"a":1.5}', b'{"a":%s}' % number.encode(), b'{"a":2}']
    columns = [Column("a", pa.decimal128(5, 2))]
    assert left(records, columns) == [1]
    assert_alike(pa.array(records, pa.binary()), columns)
