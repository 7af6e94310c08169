"""Functions in Python of an application in a process of its own."""

from __future__ import annotations

import json
import urllib.request

import pytest

from gateway.testing import TestServer
from tests.applications.applications_support import begin, end, output, put, records, rows, source, until

CODE = """
CREATE FUNCTION sized (price DOUBLE) RETURNS VARCHAR(8) LANGUAGE PYTHON AS $$
import time
def sized(price):
    if price == 13:
        time.sleep(3600)
    if price < 0:
        raise ValueError("below nothing")
    return "dear" if price > 10 else "cheap"
$$;
CREATE STREAM "DESTINATION_SQL_STREAM" ("ticker" VARCHAR(4), "size" VARCHAR(8));
CREATE PUMP p AS INSERT INTO "DESTINATION_SQL_STREAM" SELECT STREAM "ticker", sized("price") FROM "SOURCE_SQL_STREAM_001";
"""


def made(server: TestServer) -> None:
    kinesis, analytics = server.client("kinesis"), server.client("kinesisanalytics")
    for stream in ("in", "out", "faults"):
        kinesis.create_stream(StreamName=stream, ShardCount=1)
    analytics.create_application(
        ApplicationName="sized",
        ApplicationCode=CODE,
        Inputs=[source("in")],
        Outputs=[output("DESTINATION_SQL_STREAM", "out"), output("error_stream", "faults")],
    )


def test_a_function_runs_with_its_application(headrace: TestServer) -> None:
    made(headrace)
    kinesis, analytics = headrace.client("kinesis"), headrace.client("kinesisanalytics")
    begin(analytics, "sized")
    put(kinesis, "in", [{"ticker": "A", "price": 11}, {"ticker": "B", "price": -1}, {"ticker": "C", "price": 2}])
    assert [(row["ticker"], row["size"]) for row in rows(kinesis, "out", 2)] == [("A", "dear"), ("C", "cheap")]
    until(lambda: records(kinesis, "faults"), "a row of error_stream")
    assert json.loads(records(kinesis, "faults")[0])["MESSAGE"] == "function SIZED: ValueError: below nothing"
    end(analytics, "sized")


@pytest.mark.soak
def test_a_function_that_cannot_be_interrupted_ends_its_process_and_says_so(headrace: TestServer) -> None:
    made(headrace)
    kinesis, analytics = headrace.client("kinesis"), headrace.client("kinesisanalytics")
    begin(analytics, "sized")
    put(kinesis, "in", [{"ticker": "A", "price": 13}])

    def told() -> str | None:
        with urllib.request.urlopen(f"{headrace.url}/native/v1/applications/sized") as answer:
            return json.load(answer)["error"]

    assert "function SIZED does not come to an end, and cannot be interrupted" in until(told, "what is wrong")
    put(kinesis, "in", [{"ticker": "B", "price": 1}])
    assert len(records(kinesis, "in")) == 2, "the server goes on"
    end(analytics, "sized")


@pytest.mark.headrace(function_api=False)
def test_where_nobody_brings_code_a_function_is_none(headrace: TestServer) -> None:
    with pytest.raises(Exception, match="function SIZED is in Python, and the setting function_api is off") as caught:
        made(headrace)
    assert caught.type.__name__ == "CodeValidationException"
