"""kill -9 of applications' processes and of the server: every row is in its output stream once, and in one window."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.applications.applications_support import begin, output, put, records, rows, schema, source, until
from tests.system.process import ServerProcess

PROGRAM = """
CREATE STREAM "ALL" ("id" INTEGER);
CREATE PUMP p AS INSERT INTO "ALL" SELECT STREAM "id" FROM "SOURCE_SQL_STREAM_001";
CREATE STREAM "COUNTS" ("rows" INTEGER, "total" BIGINT);
CREATE PUMP q AS INSERT INTO "COUNTS"
SELECT STREAM COUNT(*), SUM("id") FROM "SOURCE_SQL_STREAM_001"
GROUP BY STEP("SOURCE_SQL_STREAM_001".ROWTIME BY INTERVAL '1' SECOND);
"""
ROUNDS = 4
BATCH = 150


def health(server: ServerProcess, name: str) -> Any:
    with urllib.request.urlopen(f"{server.url}/native/v1/applications/{name}") as answer:
        return json.load(answer)


def kill_application(server: ServerProcess, name: str) -> None:
    pid = until(lambda: health(server, name).get("pid"), "the application has a process")
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def lose_machine(server: ServerProcess) -> None:
    """The next process has nothing but what is in Kafka."""
    server.kill()
    shutil.rmtree(server.data)


@pytest.mark.parametrize("engine", ["embedded", pytest.param("kafka", marks=pytest.mark.soak)])
def test_every_row_once_through_kills(tmp_path: Path, seed: int, engine: str, request: pytest.FixtureRequest) -> None:
    dice = random.Random(seed)
    environment, ways = {}, [kill_application, ServerProcess.kill, ServerProcess.kill_only]
    if engine == "kafka":
        environment = {"HEADRACE_LOG": request.getfixturevalue("kafka_url"), "HEADRACE_WORK_SESSION_S": "6"}
        ways += [lose_machine, lose_machine]
    with ServerProcess(tmp_path / "data", environment=environment) as server:
        server.start()
        kinesis, analytics = server.client("kinesis"), server.client("kinesisanalytics")
        kinesis.create_stream(StreamName="in", ShardCount=2)
        for stream in ("out", "counts"):
            kinesis.create_stream(StreamName=stream, ShardCount=1)
        analytics.create_application(
            ApplicationName="app",
            ApplicationCode=PROGRAM,
            Inputs=[source("in", schema(("id", "INTEGER")))],
            Outputs=[output("ALL", "out"), output("COUNTS", "counts")],
        )
        begin(analytics, "app")
        for number in range(ROUNDS):
            first = number * BATCH
            put(kinesis, "in", [{"id": each} for each in range(first, first + BATCH)])
            if dice.random() < 0.5:
                rows(kinesis, "out", dice.randrange(first, first + BATCH))
            how = dice.choice(ways)
            if how is kill_application:
                kill_application(server, "app")
            else:
                port = server.port
                how(server)
                server.start(port)
        total = ROUNDS * BATCH
        found = Counter(row["id"] for row in rows(kinesis, "out", total))
        assert found == Counter(range(total))

        def all_counted() -> bool:
            counted = [json.loads(data) for data in records(kinesis, "counts")]
            return sum(row["rows"] for row in counted) >= total

        until(all_counted, "every row is in a window")
        counted = [json.loads(data) for data in records(kinesis, "counts")]
        assert sum(row["rows"] for row in counted) == total
        assert sum(row["total"] for row in counted) == sum(range(total))
        assert health(server, "app")["restarts"] >= 0
        assert server.stop() == 0


def test_an_application_that_ends_by_itself_starts_again_and_says_why(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        server.start()
        kinesis, analytics = server.client("kinesis"), server.client("kinesisanalytics")
        for stream in ("in", "out"):
            kinesis.create_stream(StreamName=stream, ShardCount=1)
        analytics.create_application(
            ApplicationName="app",
            ApplicationCode=PROGRAM,
            Inputs=[source("in", schema(("id", "INTEGER")))],
            Outputs=[output("ALL", "out")],
        )
        begin(analytics, "app")
        put(kinesis, "in", [{"id": 1}])
        rows(kinesis, "out", 1)
        kinesis.delete_stream(StreamName="out")
        put(kinesis, "in", [{"id": 2}])
        told = until(lambda: health(server, "app").get("error"), "the application says what is wrong")
        assert "out" in told
        kinesis.create_stream(StreamName="out", ShardCount=1)
        assert [row["id"] for row in rows(kinesis, "out", 1)] == [2]
        assert server.stop() == 0
