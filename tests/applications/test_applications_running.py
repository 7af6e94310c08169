"""Applications that run: formats, functions, reference data, outputs, and what stopping and changing does to them."""

from __future__ import annotations

import io
import json
import os
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.testing import TestServer
from tests.applications import applications_functions
from tests.applications.applications_support import (
    FILTER,
    ROLE,
    begin,
    delivery_stream_arn,
    end,
    function_arn,
    output,
    put,
    reaches,
    records,
    rows,
    schema,
    source,
    until,
)
from tests.firehose.harness import s3

FUNCTIONS = Path(applications_functions.__file__)

JOINED = """
CREATE STREAM "PAIRS" ("code" VARCHAR(4), "name" VARCHAR(16), "n" INTEGER);
CREATE PUMP p1 AS INSERT INTO "PAIRS" SELECT STREAM s."code", c."name", s."n"
FROM "IN_001" AS s LEFT JOIN "COMPANIES" AS c ON s."code" = c."code";
CREATE PUMP p2 AS INSERT INTO "PAIRS" SELECT STREAM s."code", c."name", s."n"
FROM "IN_002" AS s LEFT JOIN "COMPANIES" AS c ON s."code" = c."code";
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    functions = {name: f"{FUNCTIONS}:{name}" for name in ("clean", "keep")}
    kept = tmp_path_factory.mktemp("kept") / "rows"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("APPLICATIONS_KEPT", str(kept))
        with TestServer(functions=functions, firehose_compat="emulator") as server:
            yield server


def clients(server: TestServer) -> tuple[Any, Any]:
    return server.client("kinesis"), server.client("kinesisanalytics")


def test_csv_functions_reference_data_parallel_inputs_and_all_outputs(server: TestServer) -> None:
    kinesis, analytics = clients(server)
    kinesis.create_stream(StreamName="csv", ShardCount=2)
    kinesis.create_stream(StreamName="pairs", ShardCount=1)
    hints = s3(size=1, interval=0)
    server.client("firehose").create_delivery_stream(
        DeliveryStreamName="pairs", ExtendedS3DestinationConfiguration=hints
    )
    folder = server.settings.data_path / "buckets" / "tables"
    folder.mkdir(parents=True)
    (folder / "companies.csv").write_text('AMZN,Amazon\nTBV,"T, B"\n')
    processing = {"InputLambdaProcessor": {"ResourceARN": function_arn("clean"), "RoleARN": ROLE}}
    given = source(
        "csv",
        schema(("code", "VARCHAR(4)"), ("n", "INTEGER"), csv="|"),
        NamePrefix="IN",
        InputParallelism={"Count": 2},
        InputProcessingConfiguration=processing,
    )
    as_csv = {"DestinationSchema": {"RecordFormatType": "CSV"}}
    firehose = {"KinesisFirehoseOutput": {"ResourceARN": delivery_stream_arn("pairs"), "RoleARN": ROLE}}
    function = {"LambdaOutput": {"ResourceARN": function_arn("keep"), "RoleARN": ROLE}}
    analytics.create_application(
        ApplicationName="joined",
        Inputs=[given],
        Outputs=[
            output("PAIRS", "pairs", "CSV"),
            {"Name": "PAIRS", **firehose, **as_csv},
            {"Name": "error_stream", **function, "DestinationSchema": {"RecordFormatType": "JSON"}},
        ],
    )
    reference = {
        "TableName": "COMPANIES",
        "S3ReferenceDataSource": {
            "BucketARN": "arn:aws:s3:::tables",
            "FileKey": "companies.csv",
            "ReferenceRoleARN": ROLE,
        },
        "ReferenceSchema": schema(("code", "VARCHAR(4)"), ("name", "VARCHAR(16)"), csv=","),
    }
    analytics.add_application_reference_data_source(
        ApplicationName="joined", CurrentApplicationVersionId=1, ReferenceDataSource=reference
    )
    analytics.update_application(
        ApplicationName="joined", CurrentApplicationVersionId=2, ApplicationUpdate={"ApplicationCodeUpdate": JOINED}
    )
    begin(analytics, "joined")
    put(kinesis, "csv", [b"amzn|1\namzn|2", b"drop", b"fail", b"tbv|3", b"wide-code|x", b"none|4"])
    wanted = [b"AMZN,Amazon,1", b"AMZN,Amazon,2", b"NONE,,4", b'TBV,"T, B",3']
    until(lambda: len(records(kinesis, "pairs")) >= 4, "four rows")
    assert sorted(records(kinesis, "pairs")) == wanted
    lake = server.settings.data_path / "buckets" / "lake"

    def objects() -> bytes:
        return b"".join(path.read_bytes() for path in lake.rglob("pairs-*"))

    until(lambda: len(objects()) >= len(b"".join(wanted)), "the rows are in objects")
    assert all(row in objects() for row in wanted)

    kept = Path(os.environ["APPLICATIONS_KEPT"])
    until(lambda: kept.exists() and kept.read_bytes().count(b"\n") >= 2, "two rows of error_stream")
    errors = [json.loads(line) for line in kept.read_bytes().splitlines()]
    assert {each["ERROR_NAME"] for each in errors} == {"ProcessingFailed", "CoercionError"}
    end(analytics, "joined")


def test_positions_through_stops_changes_and_new_beginnings(server: TestServer) -> None:
    kinesis, analytics = clients(server)
    for stream in ("moves", "moved"):
        kinesis.create_stream(StreamName=stream, ShardCount=1)
    analytics.create_application(
        ApplicationName="moves",
        ApplicationCode=FILTER,
        Inputs=[source("moves")],
        Outputs=[output("DESTINATION_SQL_STREAM", "moved")],
    )
    put(kinesis, "moves", [{"ticker": "A", "price": 11}])
    begin(analytics, "moves", "NOW")
    put(kinesis, "moves", [{"ticker": "B", "price": 12}])
    assert [row["ticker"] for row in rows(kinesis, "moved", 1)] == ["B"]
    end(analytics, "moves")
    put(kinesis, "moves", [{"ticker": "C", "price": 13}])
    begin(analytics, "moves", "LAST_STOPPED_POINT")
    assert [row["ticker"] for row in rows(kinesis, "moved", 2)] == ["B", "C"]
    found = analytics.describe_application(ApplicationName="moves")["ApplicationDetail"]["InputDescriptions"][0]
    assert found["InputStartingPositionConfiguration"] == {"InputStartingPosition": "LAST_STOPPED_POINT"}
    # Other code, while it runs: nothing twice, nothing left out.
    analytics.update_application(
        ApplicationName="moves",
        CurrentApplicationVersionId=1,
        ApplicationUpdate={"ApplicationCodeUpdate": FILTER.replace("> 10", "> 20")},
    )
    put(kinesis, "moves", [{"ticker": "D", "price": 25}])
    reaches(analytics, "moves", "RUNNING")
    assert [row["ticker"] for row in rows(kinesis, "moved", 3)] == ["B", "C", "D"]
    put(kinesis, "moves", [{"ticker": "E", "price": 14}, {"ticker": "F", "price": 26}])
    assert [row["ticker"] for row in rows(kinesis, "moved", 4)] == ["B", "C", "D", "F"]
    end(analytics, "moves")
    begin(analytics, "moves", "TRIM_HORIZON")
    assert [row["ticker"] for row in rows(kinesis, "moved", 6)] == ["B", "C", "D", "F", "D", "F"]
    found = analytics.describe_application(ApplicationName="moves")["ApplicationDetail"]
    position = found["InputDescriptions"][0]["InputStartingPositionConfiguration"]
    assert position == {"InputStartingPosition": "TRIM_HORIZON"}
    analytics.delete_application(ApplicationName="moves", CreateTimestamp=found["CreateTimestamp"])
    folder = server.settings.data_path / "applications"
    until(lambda: "moves" not in str(analytics.list_applications()), "the application is gone")
    assert not any("state" in path.name for path in folder.rglob("*") if path.parent.name == "2")


def test_a_stream_that_is_made_anew_is_read_from_its_beginning(server: TestServer) -> None:
    kinesis, analytics = clients(server)
    for stream in ("anew", "anew-out"):
        kinesis.create_stream(StreamName=stream, ShardCount=1)
    analytics.create_application(
        ApplicationName="anew",
        ApplicationCode=FILTER,
        Inputs=[source("anew")],
        Outputs=[output("DESTINATION_SQL_STREAM", "anew-out")],
    )
    begin(analytics, "anew")
    put(kinesis, "anew", [{"ticker": "A", "price": 11}] * 5)
    rows(kinesis, "anew-out", 5)
    kinesis.delete_stream(StreamName="anew")
    kinesis.create_stream(StreamName="anew", ShardCount=1)
    put(kinesis, "anew", [{"ticker": "B", "price": 12}])
    assert [row["ticker"] for row in rows(kinesis, "anew-out", 6)][5:] == ["B"]
    page = urllib.request.urlopen(f"{server.url}/metrics").read().decode()
    labels = '{account="000000000000",application="anew",region="us-east-1"}'
    assert f"headrace_application_rows_total{labels} 6.0" in page
    assert f"headrace_application_up{labels} 1.0" in page
    end(analytics, "anew")


@pytest.mark.headrace(application_memory_max=512 << 20)
def test_a_query_that_wants_too_much_memory_hurts_nobody_else(headrace: TestServer) -> None:
    kinesis, analytics = clients(headrace)
    folder = headrace.settings.data_path / "buckets" / "tables"
    folder.mkdir(parents=True)
    (folder / "large.csv").write_bytes(b"AMZN,%s\n" % (b"x" * 1000) * 300_000)
    for stream in ("in", "out"):
        kinesis.create_stream(StreamName=stream, ShardCount=1)
    analytics.create_application(ApplicationName="large", Inputs=[source("in")], Outputs=[output("PAIRS", "out")])
    where = {"BucketARN": "arn:aws:s3:::tables", "FileKey": "large.csv", "ReferenceRoleARN": ROLE}
    table = {
        "TableName": "COMPANIES",
        "S3ReferenceDataSource": where,
        "ReferenceSchema": schema(("code", "VARCHAR(4)"), ("name", "VARCHAR(1000)"), csv=","),
    }
    analytics.add_application_reference_data_source(
        ApplicationName="large", CurrentApplicationVersionId=1, ReferenceDataSource=table
    )
    code = (
        'CREATE STREAM "PAIRS" ("name" VARCHAR(1000)); CREATE PUMP p AS INSERT INTO "PAIRS" '
        'SELECT STREAM c."name" FROM "SOURCE_SQL_STREAM_001" AS s JOIN "COMPANIES" AS c ON s."ticker" = c."code";'
    )
    analytics.update_application(
        ApplicationName="large", CurrentApplicationVersionId=2, ApplicationUpdate={"ApplicationCodeUpdate": code}
    )
    begin(analytics, "large")

    def told() -> str | None:
        with urllib.request.urlopen(f"{headrace.url}/native/v1/applications/large") as answer:
            return json.load(answer)["error"]

    assert "more memory than the 512 MiB" in until(told, "the application says what it lacks")
    put(kinesis, "in", [{"ticker": "AMZN", "price": 1}])
    assert len(records(kinesis, "in")) == 1
    end(analytics, "large")


def test_the_second_api_runs_what_a_delivery_stream_gets(server: TestServer) -> None:
    kinesis, firehose = server.client("kinesis"), server.client("firehose")
    second = server.client("kinesisanalyticsv2")
    kinesis.create_stream(StreamName="second-out", ShardCount=1)
    firehose.create_delivery_stream(DeliveryStreamName="second", ExtendedS3DestinationConfiguration=s3())
    given = source("any") | {"KinesisFirehoseInput": {"ResourceARN": delivery_stream_arn("second")}}
    del given["KinesisStreamsInput"]
    to = output("DESTINATION_SQL_STREAM", "second-out")
    del to["KinesisStreamsOutput"]["RoleARN"]
    name = {"ApplicationName": "second"}
    second.create_application(
        **name,
        RuntimeEnvironment="SQL-1_0",
        ServiceExecutionRole=ROLE,
        ApplicationConfiguration={
            "SqlApplicationConfiguration": {"Inputs": [given], "Outputs": [to]},
            "ApplicationCodeConfiguration": {"CodeContentType": "PLAINTEXT", "CodeContent": {"TextContent": FILTER}},
        },
    )
    begins = {"InputId": "1.1", "InputStartingPositionConfiguration": {"InputStartingPosition": "NOW"}}
    second.start_application(**name, RunConfiguration={"SqlRunConfigurations": [begins]})
    # Two documents in one record.
    firehose.put_record(
        DeliveryStreamName="second",
        Record={"Data": b'{"ticker": "A", "price": 11}\n{"ticker": "B", "price": 12}\n'},
    )
    assert [row["ticker"] for row in rows(kinesis, "second-out", 2)] == ["A", "B"]

    def status() -> str:
        return str(second.describe_application(**name)["ApplicationDetail"]["ApplicationStatus"])

    until(lambda: status() == "RUNNING", "it runs")
    second.stop_application(**name, Force=True)
    until(lambda: status() == "READY", "it has stopped")
    # Without a word about positions it goes on where it was.
    firehose.put_record(DeliveryStreamName="second", Record={"Data": b'{"ticker": "C", "price": 13}'})
    second.start_application(**name)
    assert [row["ticker"] for row in rows(kinesis, "second-out", 3)] == ["A", "B", "C"]
    until(lambda: status() == "RUNNING", "it runs again")
    second.stop_application(**name)


PARALLEL = """
CREATE STREAM "COUNTS" ("n" INTEGER);
CREATE PUMP a AS INSERT INTO "COUNTS" SELECT STREAM COUNT(*) FROM "SOURCE_SQL_STREAM_001"
GROUP BY STEP("SOURCE_SQL_STREAM_001".ROWTIME BY INTERVAL '1' SECOND);
"""


def test_parallel_inputs_through_a_split_and_back_to_one(server: TestServer) -> None:
    kinesis, analytics = clients(server)
    for stream in ("parallel", "counts"):
        kinesis.create_stream(StreamName=stream, ShardCount=1)
    both = PARALLEL + PARALLEL.split("\n", 2)[2].replace("_001", "_002").replace("PUMP a", "PUMP b")
    analytics.create_application(
        ApplicationName="parallel",
        ApplicationCode=both,
        Inputs=[source("parallel", InputParallelism={"Count": 2})],
        Outputs=[output("COUNTS", "counts")],
    )
    begin(analytics, "parallel")
    put(kinesis, "parallel", [{"ticker": "A"}] * 50)
    kinesis.split_shard(StreamName="parallel", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127))
    until(lambda: len(kinesis.list_shards(StreamName="parallel")["Shards"]) == 3, "the shard is split")
    put(kinesis, "parallel", [{"ticker": "A"}] * 100)

    def counted() -> int:
        return sum(json.loads(data)["n"] for data in records(kinesis, "counts"))

    until(lambda: counted() >= 150, "rows of both inputs")
    one = {"InputId": "1.1", "InputParallelismUpdate": {"CountUpdate": 1}}
    analytics.update_application(
        ApplicationName="parallel",
        CurrentApplicationVersionId=1,
        ApplicationUpdate={"ApplicationCodeUpdate": PARALLEL, "InputUpdates": [one]},
    )
    put(kinesis, "parallel", [{"ticker": "A"}] * 100)
    until(lambda: counted() >= 250, "rows of the one input")
    end(analytics, "parallel")
    assert counted() == 250


SHOUT = b"""
import base64

def shout(event, context):
    records = [(each, base64.b64decode(each["data"]).upper()) for each in event["records"]]
    return {"records": [
        {"recordId": each["recordId"], "result": "Ok", "data": base64.b64encode(data).decode()} for each, data in records
    ]}
"""


def test_a_function_that_was_created_goes_before_an_input(server: TestServer) -> None:
    kinesis, analytics = clients(server)
    for stream in ("shouted", "heard"):
        kinesis.create_stream(StreamName=stream, ShardCount=1)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("module.py", SHOUT)
    processing = {"InputLambdaProcessor": {"ResourceARN": function_arn("shout"), "RoleARN": ROLE}}
    given = source("shouted", schema(("TICKER", "VARCHAR(4)")), InputProcessingConfiguration=processing)
    code = FILTER.replace('"price" > 10', "\"TICKER\" <> 'B'").replace('"ticker", "price" FROM', '"TICKER", 1 FROM')
    name = {"ApplicationName": "shouted"}
    analytics.create_application(
        **name, ApplicationCode=code, Inputs=[given], Outputs=[output("DESTINATION_SQL_STREAM", "heard")]
    )
    start = {"InputConfigurations": [{"Id": "1.1", "InputStartingPositionConfiguration": {}}]}
    with pytest.raises(analytics.exceptions.InvalidApplicationConfigurationException, match="shout does not exist"):
        analytics.start_application(**name, **start)
    server.client("lambda").create_function(
        FunctionName="shout",
        Runtime="python3.12",
        Role=ROLE,
        Handler="module.shout",
        Code={"ZipFile": archive.getvalue()},
    )
    put(kinesis, "shouted", [{"ticker": "a"}, {"ticker": "b"}])
    begin(analytics, "shouted")
    assert [row["ticker"] for row in rows(kinesis, "heard", 1)] == ["A"]
    end(analytics, "shouted")
