"""Bad rows for an application that runs, through boto3 alone: each is a row of error_stream and says what is wrong with it,
every good one comes out once, and time goes on whatever clocks do."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.testing import TestServer
from tests.applications.applications_support import begin, end, output, put, records, rows, schema, source, until

COLUMNS = (("id", "BIGINT"), ("v", "INTEGER"))
PASS = """
CREATE STREAM "D" ("id" BIGINT, "v" INTEGER);
CREATE PUMP p AS INSERT INTO "D" SELECT STREAM "id", "v" FROM "SOURCE_SQL_STREAM_001";
"""
NO_JSON, NO_TEXT = "InvalidJson: the record is not JSON", "InvalidEncoding: the record is not UTF-8 text"
JSON = {
    b"{": NO_JSON,
    b'{"id": 1, "v": 2': NO_JSON,
    b"{'id': 1, 'v': 1}": NO_JSON,
    b"[" * 40_000: NO_JSON,
    b'{"v":' * 8_000: NO_JSON,
    b"\xff\xfe{}": NO_TEXT,
    b"[1, 2]": "NotAnObject: the record is JSON, but an array, not an object",
    b"7": "NotAnObject: the record is JSON, but a number, not an object",
    b"null": "NotAnObject: the record is JSON, but null, not an object",
    b'"x"': "NotAnObject: the record is JSON, but a string, not an object",
    b'{"id": 1, "v": "two"}': 'CoercionError: column v: "two" cannot become INTEGER',
    b'{"id": 1, "v": 2.5}': 'CoercionError: column v: "2.5" cannot become INTEGER',
    b'{"id": 1, "v": 99999999999}': 'CoercionError: column v: "99999999999" cannot become INTEGER',
    b'{"id": 1e400, "v": 1}': 'CoercionError: column id: "1e400" cannot become BIGINT',
    b'{"id": 1, "v": [1]}': 'CoercionError: column v: "[1]" cannot become INTEGER',
    b'{"id": "' + b"9" * 40_000 + b'"}': f'CoercionError: column id: "{"9" * 80}…" cannot become BIGINT',
}
CSV = {
    b"one,2": 'CoercionError: column id: "one" cannot become BIGINT',
    b"1,two": 'CoercionError: column v: "two" cannot become INTEGER',
    b"1,2.5": 'CoercionError: column v: "2.5" cannot become INTEGER',
    b"1,99999999999": 'CoercionError: column v: "99999999999" cannot become INTEGER',
    b"1;2": 'CoercionError: column id: "1;2" cannot become BIGINT',
    b'"1,2': 'CoercionError: column id: "1,2" cannot become BIGINT',
    b"1,2\x00": 'CoercionError: column v: "2\\u0000" cannot become INTEGER',
    b"x" * 40_000: f'CoercionError: column id: "{"x" * 80}…" cannot become BIGINT',
    b"\xff,1": NO_TEXT,
}
DATA_SIZE_MAX = 24_576
"""Bytes of a record that error_stream repeats."""
COUNT = 200


@pytest.fixture(scope="module")
def server() -> Iterator[TestServer]:
    with TestServer() as server:
        yield server


def told(record: bytes) -> tuple[str, bytes]:
    """What a row of error_stream says, and of which record."""
    row = json.loads(record)
    return f"{row['ERROR_NAME']}: {row['MESSAGE']}", bytes.fromhex(row["DATA_ROW"])


@pytest.mark.parametrize(
    ("kind", "bad", "given"),
    [("json", JSON, schema(*COLUMNS)), ("csv", CSV, schema(*COLUMNS, csv=","))],
    ids=["json", "csv"],
)
def test_of_malformed_records_at_any_share_none_is_lost_and_none_comes_twice(
    server: TestServer, kind: str, bad: dict[bytes, str], given: dict[str, Any], seed: int
) -> None:
    kinesis, analytics = server.client("kinesis"), server.client("kinesisanalytics")
    for stream in ("in", "out", "errors"):
        kinesis.create_stream(StreamName=f"{kind}-{stream}", ShardCount=1)
    analytics.create_application(
        ApplicationName=kind,
        ApplicationCode=PASS,
        Inputs=[source(f"{kind}-in", given)],
        Outputs=[output("D", f"{kind}-out"), output("error_stream", f"{kind}-errors")],
    )
    begin(analytics, kind)
    rng, good, faults = random.Random(seed), 0, Counter[tuple[str, bytes]]()
    for share in (0.0, 0.01, 0.5, 1.0, 0.0):
        batch = []
        for _ in range(COUNT):
            if rng.random() < share:
                record = rng.choice(list(bad))
                faults[bad[record], record[:DATA_SIZE_MAX]] += 1
            else:
                record = b"%d,%d" % (good, good % 7) if kind == "csv" else b'{"id":%d,"v":%d}' % (good, good % 7)
                good += 1
            batch.append(record)
        for first in range(0, COUNT, 50):  # a request of PutRecords has at most 5 MiB
            put(kinesis, f"{kind}-in", batch[first : first + 50])
    found = rows(kinesis, f"{kind}-out", good)
    until(lambda: len(records(kinesis, f"{kind}-errors")) >= faults.total(), "every bad record is told of")
    end(analytics, kind)
    assert good + faults.total() == 5 * COUNT
    assert rows(kinesis, f"{kind}-out", good) == found == [{"id": each, "v": each % 7} for each in range(good)]
    assert Counter(map(told, records(kinesis, f"{kind}-errors"))) == faults


EXPRESSIONS = {
    "HALF": '100 / "v"',
    "RATIO": '"d" / "v"',
    "REST": 'MOD(100, "v")',
    "SMALL": 'CAST("v" AS TINYINT)',
    "FOUR": '"id" * 4',
    "MINUS": '-"v"',
    "WHOLE": 'CAST("s" AS INTEGER)',
    "ROOT": 'SQRT("d")',
    "POWERED": 'POWER("d", 400)',
    "FIXED": 'CAST("d" AS DECIMAL(4,2))',
    "TRUTH": 'CASE WHEN CAST("s" AS BOOLEAN) THEN 1 ELSE 0 END',
    "DAY": "UNIX_TIMESTAMP(CHAR_TO_TIMESTAMP('yyyy-MM-dd', \"s\"))",
    "TIMED": 'UNIX_TIMESTAMP(TO_TIMESTAMP("id"))',
}
FAILING = (
    'CREATE STREAM "D" ("pump" VARCHAR(8), "value" DOUBLE); CREATE STREAM "M" ("must" INTEGER NOT NULL);'
    'CREATE STREAM "W" ("sum" BIGINT, "count" INTEGER);'
    + "".join(
        f'CREATE PUMP {name} AS INSERT INTO "D" SELECT STREAM \'{name}\', {expression} FROM "SOURCE_SQL_STREAM_001";'
        for name, expression in EXPRESSIONS.items()
    )
    + 'CREATE PUMP must AS INSERT INTO "M" SELECT STREAM "v" FROM "SOURCE_SQL_STREAM_001";'
    + 'CREATE PUMP win AS INSERT INTO "W" SELECT STREAM SUM("id"), COUNT(*) FROM "SOURCE_SQL_STREAM_001" AS s '
    + "GROUP BY FLOOR(s.ROWTIME TO HOUR);"
)
GOOD = {"id": 1000, "v": 4, "s": "1", "d": 4.0}
VALUES = {"HALF": 25, "RATIO": 1, "REST": 0, "SMALL": 4, "FOUR": 4000, "MINUS": -4, "WHOLE": 1, "ROOT": 2, "FIXED": 4}
VALUES |= {"POWERED": 4.0**400, "TRUTH": 1, "TIMED": 1000}
"""Of a good row; its text is no day."""
ROWS: tuple[tuple[dict[str, Any], dict[str, str]], ...] = (
    (
        {"id": 1, "v": 0, "s": "x", "d": -1.0},
        {
            "HALF": "DivideByZero: division by zero",
            "RATIO": "DivideByZero: division by zero",
            "REST": "DivideByZero: division by zero",
            "WHOLE": "RowError: 'x' is not a whole number",
            "ROOT": "NumericOverflow: SQRT: numeric overflow or no number",
            "TRUTH": "RowError: 'x' is no BOOLEAN",
            "DAY": "RowError: 'x' is not in the format 'yyyy-MM-dd'",
        },
    ),
    (
        {"id": 2**62, "v": 300, "s": "2024-13-45", "d": 1000.0},
        {
            "SMALL": "NumericOverflow: 300 is out of range of TINYINT",
            "FOUR": "NumericOverflow: overflow in multiplication: 4611686018427387904 * 4",
            "WHOLE": "RowError: '2024-13-45' is not a whole number",
            "POWERED": "NumericOverflow: POWER: numeric overflow or no number",
            "FIXED": "NumericOverflow: 1000.000000 is out of range of DECIMAL(4,2)",
            "TRUTH": "RowError: '2024-13-45' is no BOOLEAN",
            "DAY": "RowError: '2024-13-45' in the format 'yyyy-MM-dd' is no time that there is",
            "TIMED": "NumericOverflow: the time is out of range of TIMESTAMP",
        },
    ),
    (
        {"id": 2**62, "v": -(2**31), "s": "9" * 30, "d": 1.0},
        {
            "SMALL": "NumericOverflow: -2147483648 is out of range of TINYINT",
            "FOUR": "NumericOverflow: overflow in multiplication: 4611686018427387904 * 4",
            "MINUS": "NumericOverflow: Overflow in negation of numeric value!",
            "WHOLE": f"NumericOverflow: {'9' * 30} is out of range of INTEGER",
            "TRUTH": f"RowError: '{'9' * 30}' is no BOOLEAN",
            "DAY": f"RowError: '{'9' * 30}' is not in the format 'yyyy-MM-dd'",
            "TIMED": "NumericOverflow: the time is out of range of TIMESTAMP",
        },
    ),
    ({"id": None, "v": None, "s": None, "d": None}, {"MUST": "NullValue: NULL into the NOT NULL column must"}),
)


def test_a_row_that_one_pump_cannot_compute_is_told_of_and_comes_out_of_the_others(server: TestServer) -> None:
    kinesis, analytics = server.client("kinesis"), server.client("kinesisanalytics")
    for stream in ("rows", "values", "sums", "faults"):
        kinesis.create_stream(StreamName=stream, ShardCount=1)
    given = schema(("id", "BIGINT"), ("v", "INTEGER"), ("s", "VARCHAR(32)"), ("d", "DOUBLE"))
    analytics.create_application(
        ApplicationName="failing",
        ApplicationCode=FAILING,
        Inputs=[source("rows", given)],
        Outputs=[output("D", "values"), output("W", "sums"), output("error_stream", "faults")],
    )
    begin(analytics, "failing")
    server.advance(3_600 - server.now_ms() // 1000 % 3_600)  # all rows are in one window
    wanted: Counter[tuple[str, str]] = Counter()
    made = 0
    for row, faults in ROWS:
        put(kinesis, "rows", [row, GOOD])
        wanted.update(faults.items())
        wanted["DAY", "RowError: '1' is not in the format 'yyyy-MM-dd'"] += 1
        made += len(EXPRESSIONS) - len(faults.keys() & EXPRESSIONS.keys()) + len(VALUES)
        found = rows(kinesis, "values", made)
        assert len(found) == made
        assert {each["pump"]: each["value"] for each in found[-len(VALUES) :]}.keys() <= EXPRESSIONS.keys()
    good = Counter((each["pump"], each["value"]) for each in rows(kinesis, "values", made))
    assert all(good[name, float(value)] >= len(ROWS) for name, value in VALUES.items())
    server.advance(3_600)
    # 2 * 2**62 and the rest is too much for the window of that hour, and for no other.
    until(lambda: len(records(kinesis, "faults")) == wanted.total() + 1, "all that failed is told of")
    found = [json.loads(each) for each in records(kinesis, "faults")]
    names = Counter((each["PUMP_NAME"], f"{each['ERROR_NAME']}: {each['MESSAGE']}") for each in found)
    total = 1 + 2 * 2**62 + len(ROWS) * GOOD["id"]
    assert names - wanted == {("WIN", f"NumericOverflow: {total} is out of range of BIGINT"): 1}
    put(kinesis, "rows", [GOOD] * 3)
    rows(kinesis, "values", made + 3 * len(VALUES))
    server.advance(3_600)
    assert rows(kinesis, "sums", 1) == [{"sum": 3000, "count": 3}]
    end(analytics, "failing")


TIMES = """
CREATE STREAM "TOLD" ("kind" VARCHAR(8), "n" INTEGER, "at" TIMESTAMP);
CREATE PUMP seen AS INSERT INTO "TOLD" SELECT STREAM 'seen', "id", s.ROWTIME FROM "SOURCE_SQL_STREAM_001" AS s;
CREATE PUMP arrived AS INSERT INTO "TOLD" SELECT STREAM 'arrived', COUNT(*), ROWTIME
FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY STEP(s.ROWTIME BY INTERVAL '10' SECOND);
CREATE STREAM "EVENTS" ("id" INTEGER, "event" TIMESTAMP, WATERMARK FOR "event" AS "event" - INTERVAL '5' SECOND);
CREATE PUMP events AS INSERT INTO "EVENTS" SELECT STREAM "id", "event" FROM "SOURCE_SQL_STREAM_001";
CREATE PUMP happened AS INSERT INTO "TOLD" SELECT STREAM 'happened', COUNT(*), ROWTIME
FROM "EVENTS" AS e GROUP BY STEP(e.ROWTIME BY INTERVAL '10' SECOND);
CREATE PUMP late AS INSERT INTO "TOLD" SELECT STREAM 'late', "id", "event" FROM "EVENTS_LATE";
"""
YEAR_MS = 366 * 24 * 3_600_000


def test_windows_go_on_through_clocks_that_jump_and_rows_far_in_the_future(headrace: TestServer) -> None:
    kinesis, analytics = headrace.client("kinesis"), headrace.client("kinesisanalytics")
    for stream in ("in", "told", "bad"):
        kinesis.create_stream(StreamName=stream, ShardCount=1)
    analytics.create_application(
        ApplicationName="times",
        ApplicationCode=TIMES,
        Inputs=[source("in", schema(("id", "INTEGER"), ("event", "TIMESTAMP")))],
        Outputs=[output("TOLD", "told"), output("error_stream", "bad")],
    )
    begin(analytics, "times")
    began_ms, count = headrace.now_ms() // 10_000 * 10_000, 0

    def told(kind: str) -> list[dict[str, Any]]:
        return [row for row in map(json.loads, records(kinesis, "told")) if row["kind"] == kind]

    def give(event_ms: int, more: int = 1) -> None:
        """Rows of an event time, which come out at once whatever their windows do."""
        nonlocal count
        put(kinesis, "in", [{"id": count + each, "event": event_ms // 1000} for each in range(more)])
        count += more
        until(lambda: len(told("seen")) >= count, f"{count} rows")
        assert [row["n"] for row in told("seen")] == list(range(count))

    def counted(kind: str) -> int:
        return sum(row["n"] for row in told(kind))

    def closes(kind: str, total: int) -> None:
        """So many rows come out of windows, while the clock goes on."""

        def enough() -> bool:
            headrace.advance(5)
            return counted(kind) >= total

        until(enough, f"{total} rows of {kind}")
        assert counted(kind) == total

    give(began_ms, 3)
    closes("arrived", 3)
    # An event years ahead closes no window: its own and those that are open go on without it.
    give(began_ms + 20 * YEAR_MS)
    give(began_ms + 1_000, 2)
    headrace.advance(7_200)  # the clock jumps ahead
    give(began_ms + 2_000)
    closes("arrived", count)
    headrace.advance(-7_200)  # and back
    give(began_ms + 3_000, 4)
    closes("arrived", count)
    assert counted("happened") == 0
    give(began_ms + 60_000)  # only a later event ends the window of the earlier ones
    closes("happened", 10)
    give(began_ms)
    until(lambda: told("late"), "the late row")
    closes("arrived", count)
    end(analytics, "times")
    assert [row["n"] for row in told("late")] == [count - 1]
    (fault,) = [json.loads(each) for each in records(kinesis, "bad")]
    assert (fault["ERROR_NAME"], fault["MESSAGE"]) == ("FutureRow", "the row's time is too far ahead of when it came")
    assert json.loads(bytes.fromhex(fault["DATA_ROW"]))["id"] == 3
    seen = [row["at"] for row in told("seen")]
    assert seen == sorted(seen), "ROWTIME never goes back"
    closed = [row["at"] for row in told("arrived")]
    assert closed == sorted(set(closed)), "a window that has closed stays so"
