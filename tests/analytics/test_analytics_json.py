"""JSON records to rows and back."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.formats import duck
from connectors.formats.json import decode_json, encode_json, infer_columns
from connectors.formats.json_plan import converting
from connectors.formats.json_values import typed
from connectors.formats.schema import Column
from streams.core.errors import ValidationError

MS = pa.timestamp("ms")
FAULT = "a fault"

COERCIONS: list[tuple[pa.DataType, str, Any]] = [
    (pa.int32(), "1", 1),
    (pa.int32(), '"5"', 5),
    (pa.int32(), "123.0", 123),
    (pa.int32(), "123.4", FAULT),
    (pa.int32(), '"12.5"', FAULT),
    (pa.int32(), "true", 1),
    (pa.int32(), "null", None),
    (pa.int32(), "99999999999999", FAULT),
    (pa.int32(), "[1]", FAULT),
    (pa.int32(), '{"b":1}', FAULT),
    (pa.int32(), '""', FAULT),
    (pa.int64(), "9007199254740993", 9007199254740993),
    (pa.int8(), "-128", -128),
    (pa.int8(), "128", FAULT),
    (pa.float64(), '"5.25"', 5.25),
    (pa.float64(), '"infinity"', FAULT),
    (pa.float64(), "1e3", 1000.0),
    (pa.string(), "123.4", "123.4"),
    (pa.string(), "[1,2]", "[1,2]"),
    (pa.string(), "true", "true"),
    (pa.bool_(), '"TRUE"', True),
    (pa.bool_(), '"no way"', False),
    (pa.bool_(), "0", False),
    (pa.bool_(), "[1]", FAULT),
    (MS, '"2013-01-01T05:00:00Z"', dt.datetime(2013, 1, 1, 5)),
    (MS, '"2013-01-01 05:00:00.123456"', dt.datetime(2013, 1, 1, 5, 0, 0, 123000)),
    (MS, '"2018-05-09T12:50:41.337510"', dt.datetime(2018, 5, 9, 12, 50, 41, 337000)),
    (MS, '"2018-05-09T12:50:59.999999+00:00"', dt.datetime(2018, 5, 9, 12, 50, 59, 999000)),
    (MS, '"2013-01-01T05:00:00.5+02:00"', dt.datetime(2013, 1, 1, 3, 0, 0, 500000)),
    (MS, "1700000000", dt.datetime(2023, 11, 14, 22, 13, 20)),
    (MS, "1700000000123", dt.datetime(2023, 11, 14, 22, 13, 20, 123000)),
    (MS, "9223372036854776.0", FAULT),
    (MS, "-1e15", FAULT),
    (MS, '"infinity"', FAULT),
    (MS, "true", FAULT),
    (pa.date32(), '"2013-01-01"', dt.date(2013, 1, 1)),
    (pa.decimal128(5, 2), "123.45", Decimal("123.45")),
    (pa.decimal128(5, 2), "1234.5", FAULT),
    (pa.binary(), '"aGk="', b"hi"),
]


@pytest.mark.parametrize(("kind", "value", "expected"), COERCIONS, ids=lambda v: str(v)[:30])
def test_a_value_becomes_its_columns_type_or_a_fault(kind: pa.DataType, value: str, expected: Any) -> None:
    data = pa.array([b'{"a":%s}' % value.encode(), b"{}"], pa.binary())
    decoded = decode_json(data, [Column("a", kind)])
    assert decoded.rows.schema.field("a").type == kind
    if expected is FAULT:
        (fault,) = decoded.faults
        assert (fault.index, fault.code) == (0, "CoercionError")
        assert fault.message.startswith("column a: ")
        assert decoded.rows.to_pylist() == [{"a": None}]
    else:
        assert decoded.faults == ()
        assert decoded.rows.to_pylist() == [{"a": expected}, {"a": None}]


def test_records_that_are_no_objects_are_faults_and_the_rest_stays_in_order() -> None:
    data = pa.array(
        [b'{"a":1}', b"null", b"[1]", b"5", b"", b"\xff\xfe", b'{"a":', b'{"a":2}', b'{"a":"x"}'], pa.binary()
    )
    decoded = decode_json(data, [Column("a", pa.int64())])
    assert decoded.rows.to_pylist() == [{"a": 1}, {"a": 2}]
    assert decoded.source.to_pylist() == [0, 7]
    assert [(f.index, f.code) for f in decoded.faults] == [
        (1, "NotAnObject"),
        (2, "NotAnObject"),
        (3, "NotAnObject"),
        (4, "InvalidJson"),
        (5, "InvalidEncoding"),
        (6, "InvalidJson"),
        (8, "CoercionError"),
    ]
    assert decoded.faults[-1].message == 'column a: "x" cannot become BIGINT'


def test_names_differ_by_case_and_paths_may_overlap() -> None:
    columns = [
        Column("a", pa.int32()),
        Column("A", pa.string()),
        Column("bc", pa.int32(), "$.b.c"),
        Column("b", pa.string()),
        Column("again", pa.string(), "$.a"),
        Column("dotted", pa.int32(), '$."x.y"'),
    ]
    decoded = decode_json(pa.array([b'{"a":1,"A":"x","b":{"c":2},"x.y":3}', b'{"b":5}'], pa.binary()), columns)
    assert decoded.rows.to_pylist() == [
        {"a": 1, "A": "x", "bc": 2, "b": '{"c":2}', "again": "1", "dotted": 3},
        {"a": None, "A": None, "bc": None, "b": "5", "again": None, "dotted": None},
    ]


def test_a_slice_of_a_batch_is_read_at_its_own_place() -> None:
    data = pa.array([b'{"a":%d}' % i for i in range(10)], pa.binary()).slice(3, 4)
    assert decode_json(data, [Column("a", pa.int64())]).rows.column(0).to_pylist() == [3, 4, 5, 6]
    assert len(decode_json(data.slice(0, 0), [Column("a", pa.int64())]).rows) == 0


def test_paths_into_arrays_are_refused() -> None:
    with pytest.raises(ValidationError, match="paths into arrays are not supported"):
        decode_json(pa.array([b"{}"], pa.binary()), [Column("a", pa.int64(), "$.a[0]")])


def test_rows_become_objects_with_stable_keys() -> None:
    rows = pa.RecordBatch.from_pydict(
        {
            "b": pa.array([1, None]),
            "a": pa.array(['x"y', "z"]),
            "A": pa.array([1.5, float("nan")]),
            "t": pa.array([1, None], MS),
            "d": pa.array([Decimal("1.50"), None], pa.decimal128(5, 2)),
            "x": pa.array([b"hi", None], pa.binary()),
        }
    )
    assert encode_json(rows).to_pylist() == [
        b'{"b":1,"a":"x\\"y","A":1.5,"t":"1970-01-01 00:00:00.001","d":1.5,"x":"aGk="}',
        b'{"b":null,"a":"z","A":null,"t":null,"d":null,"x":null}',
    ]
    assert encode_json(rows.slice(0, 0)).to_pylist() == []


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
PLAIN = st.lists(
    st.tuples(
        *(st.one_of(st.none(), each) for each in (st.integers(-(2**63), 2**63 - 1), st.booleans(), TEXTS)),
        st.one_of(st.none(), st.integers(-62_135_596_800_000, 253_402_300_799_999)),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40)
@given(PLAIN, TEXTS)
def test_a_few_rows_are_written_as_duckdb_writes_many(rows: list[tuple[Any, ...]], name: str) -> None:
    kinds = (pa.int64(), pa.bool_(), pa.string(), MS)
    values = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    batch = pa.RecordBatch.from_arrays(values, names=["n", "b", name, "t"])
    written = encode_json(batch).to_pylist()
    with mock.patch("connectors.formats.json.PLAIN_ROWS_MAX", 0):
        assert encode_json(batch).to_pylist() == written


def test_discovery_finds_types_and_nested_names() -> None:
    data = pa.array(
        [
            b'{"a":1,"b":{"c":1.5,"d e":true},"t":"2013-01-01T05:00:00Z","x":null,"z":[1]}',
            b"broken",
            b'{"a":3000000000,"t":"2013-01-01 05:00:00"}',
        ],
        pa.binary(),
    )
    columns = infer_columns(data)
    assert [(c.name, c.type, c.path) for c in columns] == [
        ("a", pa.int64(), "$.a"),
        ("b_c", pa.float64(), "$.b.c"),
        ("b_d e", pa.bool_(), "$.b.d e"),
        ("t", MS, "$.t"),
        ("x", pa.string(), "$.x"),
        ("z", pa.string(), "$.z"),
    ]
    assert decode_json(data, columns).rows.num_rows == 2


def test_without_columns_the_objects_are_still_counted() -> None:
    decoded = decode_json(pa.array([b'{"a":1}', b"[]", b"{}", b"x"], pa.binary()), [])
    assert (decoded.rows.num_rows, decoded.rows.num_columns) == (2, 0)
    assert decoded.source.to_pylist() == [0, 2]
    assert [fault.code for fault in decoded.faults] == ["NotAnObject", "InvalidJson"]


TIMES = st.builds(
    lambda day, middle, second, fraction, zone: f"{day}{middle}{second}{fraction}{zone}",
    st.one_of(
        st.dates().map(str), st.sampled_from(["0000-01-01", "2013-02-30", "2013-1-1", "20130101", "+2013-01-01"])
    ),
    st.sampled_from(["", "T", " ", "t"]),
    st.one_of(
        st.times().map(lambda time: time.isoformat("seconds")), st.sampled_from(["", "05:00", "24:00:00", "23:59:60"])
    ),
    st.sampled_from(["", ".5", ".123", ".999999", ".1234567", "."]),
    st.sampled_from(["", "Z", "+02:00", "-0130", " UTC", "z"]),
)


@given(st.lists(st.one_of(st.none(), TIMES), max_size=4), st.sampled_from([MS, pa.date32()]))
def test_what_arrow_reads_as_a_time_duckdb_reads_alike(texts: list[str | None], kind: pa.DataType) -> None:
    raw = pa.array(texts, pa.string())
    values = typed(raw, kind)
    if values is not None:
        asked = duck.run(converting(kind), v=pa.table({"t": raw})).column(0).combine_chunks()
        assert values.equals(asked)


KINDS = [
    pa.int8(),
    pa.int32(),
    pa.int64(),
    pa.float32(),
    pa.float64(),
    pa.bool_(),
    pa.string(),
    pa.decimal128(9, 2),
    MS,
]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-200, 200),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    TIMES,
    st.just([1]),
    st.just({"x": 1}),
)


@settings(max_examples=25)
@given(st.lists(st.dictionaries(st.sampled_from("abcdefghi"), VALUES), max_size=6))
def test_a_record_is_read_alike_alone_and_beside_others(records: list[dict[str, Any]]) -> None:
    columns = [Column(name, kind) for name, kind in zip("abcdefghi", KINDS, strict=True)]
    data = [json.dumps(record).encode() for record in records]
    together = decode_json(pa.array(data, pa.binary()), columns)
    faults = {fault.index: (fault.code, fault.message) for fault in together.faults}
    rows = dict(zip(together.source.to_pylist(), together.rows.to_pylist(), strict=True))
    for index, text in enumerate(data):
        alone = decode_json(pa.array([text], pa.binary()), columns)
        assert [(fault.code, fault.message) for fault in alone.faults] == ([faults[index]] if index in faults else [])
        assert alone.rows.to_pylist() == ([rows[index]] if index in rows else [])
