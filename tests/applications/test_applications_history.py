"""Applications and queries that begin in what a delivery stream has delivered, through a server and its processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.testing import TestServer
from tests.applications.applications_support import begin, end, put, rows, stream_arn, until
from tests.firehose.harness import NEWLINES, ROLE, processing, s3

PROGRAM = """
CREATE OR REPLACE STREAM "OUT" ("n" INTEGER);
CREATE OR REPLACE PUMP "P" AS INSERT INTO "OUT" SELECT STREAM "n" FROM "SOURCE_SQL_STREAM_001";
"""
DAY_S = 25 * 3_600


@pytest.fixture
def server() -> Iterator[TestServer]:
    with TestServer(firehose_compat="emulator") as server:
        yield server


def headrace(server: TestServer, *arguments: str) -> str:
    done = CliRunner().invoke(main, [*arguments, "--endpoint", server.url], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def deliver(server: TestServer, count: int) -> None:
    """Time passes until so many records are in objects."""
    folder = Path(server.settings.data) / "buckets" / "lake"

    def delivered() -> bool:
        server.advance(20)
        lines = [path.read_bytes().count(b"\n") for path in folder.rglob("*") if path.is_file()]
        return sum(lines) >= count

    until(delivered, f"{count} records in objects")


def test_an_application_begins_in_history_and_goes_on_after_a_long_stop(server: TestServer, tmp_path: Path) -> None:
    kinesis, analytics, firehose = map(server.client, ("kinesis", "kinesisanalytics", "firehose"))
    for name in ("clicks", "out"):
        kinesis.create_stream(StreamName=name, ShardCount=1)
        kinesis.get_waiter("stream_exists").wait(StreamName=name)
    kinesis.increase_stream_retention_period(StreamName="out", RetentionPeriodHours=168)
    firehose.create_delivery_stream(
        DeliveryStreamName="past",
        DeliveryStreamType="KinesisStreamAsSource",
        KinesisStreamSourceConfiguration={"KinesisStreamARN": stream_arn("clicks"), "RoleARN": ROLE},
        ExtendedS3DestinationConfiguration=s3(**processing(NEWLINES)),
    )
    (tmp_path / "app.sql").write_text(PROGRAM)
    made: list[Any] = [{"n": number} for number in range(20)]
    put(kinesis, "clicks", made)
    deliver(server, 20)
    server.advance(DAY_S)
    made += [{"n": number} for number in range(20, 25)]
    put(kinesis, "clicks", made[20:])

    count = ("sql", "SELECT count(*) AS n FROM clicks", "--json")
    assert json.loads(headrace(server, *count)) == {"n": 5}
    assert json.loads(headrace(server, *count, "--history", "past")) == {"n": 25}
    continuous = 'SELECT STREAM "n" FROM "clicks"'
    shown = headrace(server, "sql", continuous, "--no-follow", "--history", "past", "--output", "json")
    assert sorted(json.loads(line)["n"] for line in shown.splitlines()) == list(range(25))

    (tmp_path / "schema.json").write_text(
        json.dumps(
            {
                "RecordFormat": {
                    "RecordFormatType": "JSON",
                    "MappingParameters": {"JSONMappingParameters": {"RecordRowPath": "$"}},
                },
                "RecordColumns": [{"Name": "n", "Mapping": "$.n", "SqlType": "INTEGER"}],
            }
        )
    )
    headrace(
        *(server, "app", "create", "counts", str(tmp_path / "app.sql"), "--input", "clicks"),
        *("--schema", str(tmp_path / "schema.json"), "--to", "OUT=stream:out", "--history", "past"),
    )
    begin(analytics, "counts")
    assert sorted(row["n"] for row in rows(kinesis, "out", 25)) == list(range(25))
    end(analytics, "counts")
    made += [{"n": number} for number in range(25, 30)]
    put(kinesis, "clicks", made[25:])
    deliver(server, 30)
    server.advance(DAY_S)
    put(kinesis, "clicks", [{"n": 30}])
    begin(analytics, "counts", "LAST_STOPPED_POINT")
    assert sorted(row["n"] for row in rows(kinesis, "out", 31)) == list(range(31))
