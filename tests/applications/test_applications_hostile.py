"""Bad programs and bad files for an application that runs: they are refused, or say what is wrong, and it goes on."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from gateway.testing import TestServer
from tests.applications.applications_support import (
    FILTER,
    ROLE,
    begin,
    end,
    output,
    put,
    reaches,
    rows,
    schema,
    source,
    until,
)

DECLARED = 'CREATE STREAM "DESTINATION_SQL_STREAM" ("ticker" VARCHAR(4), "n" INTEGER);\n'
PUMP = 'CREATE PUMP p AS INSERT INTO "DESTINATION_SQL_STREAM" '
FROM = ' FROM "SOURCE_SQL_STREAM_001" AS s'
BAD = {
    "does not parse": (DECLARED + PUMP + "SELECT STREAM FROM WHERE", "line 2, column"),
    "nothing but brackets": (
        DECLARED + PUMP + "SELECT STREAM " + "(" * 20_000 + "1",
        "nested too deeply|does not|missing",
    ),
    "a function that calls itself": (
        "CREATE FUNCTION f (x INTEGER) RETURNS INTEGER RETURN f(x);"
        + DECLARED
        + PUMP
        + 'SELECT STREAM "ticker", f(1)'
        + FROM,
        "function F calls itself",
    ),
    "names that double": (
        DECLARED
        + PUMP
        + 'WITH a0 AS (SELECT STREAM "ticker" FROM "SOURCE_SQL_STREAM_001"), '
        + ", ".join(f'a{i + 1} AS (SELECT STREAM x."ticker" FROM a{i} AS x, a{i} AS y)' for i in range(30))
        + ' SELECT STREAM "ticker", 1 FROM a30',
        "used in more than 256 places",
    ),
    "functions that double": (
        "CREATE FUNCTION f0 (x INTEGER) RETURNS INTEGER RETURN x;"
        + "".join(f"CREATE FUNCTION f{i + 1} (x INTEGER) RETURNS INTEGER RETURN f{i}(x) + f{i}(x);" for i in range(30))
        + DECLARED
        + PUMP
        + 'SELECT STREAM "ticker", f30(1)'
        + FROM,
        "more than 1,000 calls",
    ),
    "arguments that double": (
        "CREATE FUNCTION f (x INTEGER) RETURNS INTEGER RETURN x + x;"
        + DECLARED
        + PUMP
        + 'SELECT STREAM "ticker", '
        + "f(" * 25
        + "1"
        + ")" * 25
        + FROM,
        "more than 1,000 calls",
    ),
    "views that double": (
        'CREATE VIEW v0 AS SELECT STREAM "ticker" FROM "SOURCE_SQL_STREAM_001";'
        + "".join(f'CREATE VIEW v{i + 1} AS SELECT STREAM x."ticker" FROM v{i} AS x, v{i} AS y;' for i in range(30))
        + DECLARED
        + PUMP
        + 'SELECT STREAM "ticker", 1 FROM v30',
        "more than 2,000 streams",
    ),
    "unknown column": (
        DECLARED + PUMP + 'SELECT STREAM "tiker", 1' + FROM,
        'has no column tiker; did you mean "ticker"',
    ),
    "non-monotonic grouping": (
        DECLARED + PUMP + 'SELECT STREAM "ticker", COUNT(*)' + FROM + ' GROUP BY "ticker"',
        "a group of a stream never ends",
    ),
    "two ROWTIME groupings": (
        DECLARED
        + PUMP
        + 'SELECT STREAM "ticker", COUNT(*)'
        + FROM
        + ' GROUP BY "ticker", FLOOR(s.ROWTIME TO MINUTE), FLOOR(s.ROWTIME TO HOUR)',
        "two keys are windows of ROWTIME",
    ),
    "types that do not assign": (
        DECLARED + PUMP + 'SELECT STREAM "price", 1' + FROM,
        "a number cannot go into column ticker",
    ),
    "cyclic pumps": (
        DECLARED
        + 'CREATE STREAM e ("ticker" VARCHAR(4), "n" INTEGER);'
        + PUMP
        + "SELECT STREAM * FROM e; "
        + 'CREATE PUMP q AS INSERT INTO e SELECT STREAM * FROM "DESTINATION_SQL_STREAM"',
        "feed each other in a circle",
    ),
}


class _Large(BaseHTTPRequestHandler):
    """A file of a byte more than a gigabyte, of which nobody gets any."""

    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        _Large.asked.append(self.command)
        self.send_response(200)
        self.send_header("Content-Length", str((1 << 30) + 1))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def headrace() -> Iterator[TestServer]:
    """One whose bucket far is a server on the network."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Large) as files:
        threading.Thread(target=files.serve_forever, daemon=True).start()
        with TestServer(buckets={"far": f"http://127.0.0.1:{files.server_port}/tables"}) as server:
            yield server
        files.shutdown()


def test_bad_programs_and_files_leave_a_running_application_alone(headrace: TestServer) -> None:
    kinesis, analytics = headrace.client("kinesis"), headrace.client("kinesisanalytics")
    for stream in ("in", "out"):
        kinesis.create_stream(StreamName=stream, ShardCount=1)
    name = {"ApplicationName": "steady"}
    to = output("DESTINATION_SQL_STREAM", "out")
    analytics.create_application(**name, ApplicationCode=FILTER, Inputs=[source("in")], Outputs=[to])
    begin(analytics, "steady")
    put(kinesis, "in", [{"ticker": "A", "price": 11}])
    assert [row["ticker"] for row in rows(kinesis, "out", 1)] == ["A"]

    def version() -> int:
        return int(analytics.describe_application(**name)["ApplicationDetail"]["ApplicationVersionId"])

    at = version()
    for kind, (code, message) in BAD.items():
        update = {"ApplicationCodeUpdate": code}
        with pytest.raises(Exception, match=message) as caught:
            analytics.update_application(**name, CurrentApplicationVersionId=at, ApplicationUpdate=update)
        assert caught.type.__name__ in ("CodeValidationException", "InvalidArgumentException"), kind
    assert version() == at
    put(kinesis, "in", [{"ticker": "B", "price": 12}])
    assert [row["ticker"] for row in rows(kinesis, "out", 2)] == ["A", "B"]
    _reference(headrace, analytics, at)
    put(kinesis, "in", [{"ticker": "C", "price": 13}])
    assert [row["ticker"] for row in rows(kinesis, "out", 3)] == ["A", "B", "C"]
    end(analytics, "steady")


def _reference(server: TestServer, analytics: Any, at: int) -> None:
    """A reference file that is missing, too large, or no text keeps an application from running until it is mended; nothing
    is lost meanwhile."""
    folder = server.settings.data_path / "buckets" / "tables"
    folder.mkdir(parents=True)
    where = {"BucketARN": "arn:aws:s3:::tables", "FileKey": "names.csv", "ReferenceRoleARN": ROLE}
    table = {
        "TableName": "NAMES",
        "S3ReferenceDataSource": where,
        "ReferenceSchema": schema(("code", "VARCHAR(4)"), ("n", "INTEGER"), csv=","),
    }
    given = {"ApplicationName": "steady", "CurrentApplicationVersionId": at, "ReferenceDataSource": table}
    analytics.add_application_reference_data_source(**given)

    def told() -> str | None:
        with urllib.request.urlopen(f"{server.url}/native/v1/applications/steady") as answer:
            return json.load(answer)["error"]

    assert "there is no file" in until(told, "a file is missing")
    (listed,) = analytics.describe_application(ApplicationName="steady")["ApplicationDetail"][
        "ReferenceDataSourceDescriptions"
    ]

    def moved(bucket: str, version: int) -> None:
        reaches(analytics, "steady", "RUNNING")
        update = {
            "ReferenceId": listed["ReferenceId"],
            "S3ReferenceDataSourceUpdate": {"BucketARNUpdate": f"arn:aws:s3:::{bucket}"},
        }
        analytics.update_application(
            ApplicationName="steady",
            CurrentApplicationVersionId=version,
            ApplicationUpdate={"ReferenceDataSourceUpdates": [update]},
        )

    moved("far", at + 1)
    url = server.settings.buckets["far"]
    refused = f"reference table NAMES: {url}/names.csv has more than 1,073,741,824 bytes"
    until(lambda: told() == refused, "a file on the network is too large")
    assert set(_Large.asked) == {"HEAD"}, "it is not fetched to be refused"
    moved("tables", at + 2)
    with (folder / "names.csv").open("wb") as file:
        file.truncate((1 << 30) + 1)
    until(lambda: "has more than 1,073,741,824 bytes" in (told() or ""), "a file is too large")
    (folder / "names.csv").write_bytes(b"A,one\n\xff,2\nB,2\n")  # a row that does not fit, and bytes that are no text
