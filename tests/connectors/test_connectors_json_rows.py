"""Rows inside JSON records: several documents, row paths, arrays."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.formats.json_rows import JsonRows
from connectors.formats.schema import Column
from streams.core.errors import ValidationError

N = Column("n", pa.int32(), "$.n")
VALUE = st.fixed_dictionaries({"n": st.integers(0, 99)})


def rows(data: list[bytes], columns: list[Column], row_path: str = "$") -> tuple[list[Any], list[int], list[Any]]:
    decoded = JsonRows(columns, row_path).decode(pa.array(data, pa.binary()), range(len(columns)))
    faults = [(fault.index, fault.code) for fault in decoded.faults]
    return [tuple(row.values()) for row in decoded.rows.to_pylist()], decoded.source.to_pylist(), faults


@given(st.lists(st.lists(VALUE, max_size=3), min_size=1, max_size=5), st.sampled_from(["", "\n", " \n ", ","]))
def test_documents_in_one_record_are_rows_in_their_order(records: list[list[Any]], between: str) -> None:
    data = [between.join(map(json.dumps, values)).encode() for values in records]
    found, source, faults = rows(data, [N])
    assert found == [(value["n"],) for values in records for value in values]
    assert source == [number for number, values in enumerate(records) for _ in values]
    assert faults == []


@given(st.lists(st.lists(VALUE, max_size=3), min_size=1, max_size=5))
def test_a_row_path_gives_the_elements_of_an_array(records: list[list[Any]]) -> None:
    wanted = [(value["n"],) for values in records for value in values]
    data = [json.dumps({"a": {"rows": values}}).encode() for values in records]
    assert rows(data, [N], "$.a.rows[0:]")[0] == rows(data, [N], "$.a.rows")[0] == wanted
    assert rows([json.dumps(values).encode() for values in records], [N], "$[0:]")[0] == wanted


def test_columns_go_through_one_array() -> None:
    given = [
        Column("id", pa.string(), "$.id"),
        Column("n", pa.int32(), "$.items[0:].n"),
        Column("all", pa.string(), "$.items[0:]"),
    ]
    data = [b'{"id": "a", "items": [{"n": 1}, {}]}', b'{"id": "b", "items": []}', b'{"id": "c"}', b"no", b"\xff"]
    found, source, faults = rows(data, given)
    assert found == [
        ("a", 1, '[{"n":1},{}]'),
        ("a", None, '[{"n":1},{}]'),
        ("b", None, "[]"),
        ("c", None, None),
    ]
    assert source == [0, 0, 1, 2]
    assert faults == [(3, "InvalidJson"), (4, "InvalidEncoding")]


def test_what_is_no_row_fails_alone() -> None:
    found, source, faults = rows([b'{"n": 1}{"n": 2}x', b"[1]", b'{"n": "many"}', b'{"n": 3}'], [N])
    assert (found, source) == ([(1,), (2,), (3,)], [0, 0, 3])
    assert sorted(faults) == [(0, "InvalidJson"), (1, "NotAnObject"), (2, "CoercionError")]


@pytest.mark.parametrize(
    ("columns", "row_path", "said"),
    [
        ([N], "n", "the row path 'n' is not of the form"),
        ([Column("n", pa.int32(), "$.a[1].n")], "$", "paths into arrays are not supported"),
        ([Column("n", pa.int32(), "$.a[0:].n"), Column("m", pa.int32(), "$.b[0:].m")], "$", "one array"),
    ],
)
def test_paths_that_are_none(columns: list[Column], row_path: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        JsonRows(columns, row_path)
