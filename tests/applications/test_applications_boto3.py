"""From CreateApplication to rows in an output stream, by boto3 over a socket."""

from __future__ import annotations

from gateway.testing import TestServer
from tests.applications.applications_support import FILTER, begin, end, output, put, rows, source


def test_a_filter_runs_from_create_to_its_output(headrace: TestServer) -> None:
    kinesis, analytics = headrace.client("kinesis"), headrace.client("kinesisanalytics")
    for stream in ("in", "out"):
        kinesis.create_stream(StreamName=stream, ShardCount=1)
    put(kinesis, "in", [{"ticker": "AMZN", "price": 11.5}, {"ticker": "TBV", "price": 9}])
    created = analytics.create_application(
        ApplicationName="app",
        ApplicationCode=FILTER,
        Inputs=[source("in")],
        Outputs=[output("DESTINATION_SQL_STREAM", "out")],
    )
    assert created["ApplicationSummary"]["ApplicationStatus"] == "READY"
    begin(analytics, "app")
    assert rows(kinesis, "out", 1) == [{"ticker": "AMZN", "PRICE": 11.5}]
    put(kinesis, "in", [{"ticker": "QXZ", "price": 20}])
    assert rows(kinesis, "out", 2)[1] == {"ticker": "QXZ", "PRICE": 20}
    end(analytics, "app")
