"""CSV records: against Python's reader, and the words for what does not fit."""

from __future__ import annotations

import csv
import io

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from connectors.formats.csv import decode_csv, encode_csv
from connectors.formats.schema import Column

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\x85"), max_size=6)
FIELD = TEXT | st.sampled_from(["a,b", 'say "x"', "two\nlines", "", " "])


def columns(count: int) -> list[Column]:
    return [Column(f"c{number}", pa.string()) for number in range(count)]


@given(st.lists(st.lists(st.tuples(FIELD, FIELD, st.just("end")), max_size=3), min_size=1, max_size=4))
def test_what_python_writes_is_read_as_it_was(records: list[list[tuple[str, str, str]]]) -> None:
    data = []
    for rows in records:
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows(rows)
        data.append(file.getvalue().encode())
    decoded = decode_csv(pa.array(data, pa.binary()), columns(3), range(3), "\n", ",")
    assert [tuple(row.values()) for row in decoded.rows.to_pylist()] == [row for rows in records for row in rows]
    assert decoded.source.to_pylist() == [number for number, rows in enumerate(records) for _ in rows]
    assert decoded.faults == ()


@given(st.lists(st.tuples(FIELD, st.none() | st.integers(-9, 9)), min_size=1, max_size=5))
def test_what_is_written_python_reads(rows: list[tuple[str, int | None]]) -> None:
    batch = pa.record_batch({"a": [a for a, _ in rows], "b": pa.array([b for _, b in rows], pa.int32())})
    lines = [line.as_py().decode() for line in encode_csv(batch)]
    found = [next(csv.reader(io.StringIO(line, newline=""))) for line in lines]
    assert found == [[a, "" if b is None else str(b)] for a, b in rows]


def test_values_convert_or_say_why() -> None:
    kinds = [Column("n", pa.int32()), Column("at", pa.timestamp("ms")), Column("yes", pa.bool_())]
    data = [b"1|2026-01-01 10:00:00|true\r\n2||", b"x|2026-01-01|false", b" 7 |nowhen|", b"\xff", b"", b"9"]
    decoded = decode_csv(pa.array(data), kinds, range(3), "\n", "|")
    assert [(row["n"], str(row["at"]), row["yes"]) for row in decoded.rows.to_pylist()] == [
        (1, "2026-01-01 10:00:00", True),
        (2, "None", None),
        (9, "None", None),
    ]
    assert decoded.source.to_pylist() == [0, 0, 5]
    assert [(fault.index, fault.code) for fault in decoded.faults] == [
        (1, "CoercionError"),
        (2, "CoercionError"),
        (3, "InvalidEncoding"),
    ]
    assert decoded.faults[0].message == 'column n: "x" cannot become INTEGER'


def test_numbers_are_the_same_alone_and_among_others_that_are_none() -> None:
    texts = ["7", "+7", "-7", "7.0", "0x7", "07", "1e2", "nan", "inf", "", "3000000000", ".5", "1_0", "\uff17"]
    for kind in (pa.int32(), pa.float64()):
        alone = [
            decode_csv(pa.array([f"{text},."]).cast(pa.binary()), [Column("n", kind)], [0], "\n", ",") for text in texts
        ]
        both = [
            decode_csv(pa.array([f"{text},.", "x,."]).cast(pa.binary()), [Column("n", kind)], [0], "\n", ",")
            for text in texts
        ]
        assert [each.rows.to_pylist() for each in alone] == [each.rows.to_pylist() for each in both]
        assert [len(each.faults) + 1 for each in alone] == [len(each.faults) for each in both]


def test_columns_are_taken_by_position() -> None:
    decoded = decode_csv(pa.array([b"a;b;c\nd"]), columns(2), [2, 0], "\n", ";")
    assert [tuple(row.values()) for row in decoded.rows.to_pylist()] == [("c", "a"), (None, "d")]
    assert decode_csv(pa.array([b"a;b"]), [], [], "\n", ";").rows.num_rows == 1
