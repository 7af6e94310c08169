"""The private door: what the server's own processes reach through it, and nobody through the public one."""

from __future__ import annotations

import os
import stat

import pytest

from connectors.functions.errors import FunctionUnknown
from gateway.private import PrivateDoor
from gateway.testing import TestServer
from streams import HttpClient
from streams.core.clock import ManualClock
from streams.core.errors import InvalidArgument, ResourceNotFound, ServiceUnavailable, UnknownOperation
from streams.core.records import Records
from streams.core.scope import Scope
from streams.log.memory import MemoryLog
from streams.sdk.local import LocalClient
from streams.service import Service
from tests.applications.applications_support import FILTER, begin, end, output, put, rows, source
from tests.aws import session

ELSEWHERE = Scope("111111111111", "eu-west-1")


async def test_hidden_streams_of_any_account_are_reached_by_this_user_alone() -> None:
    log = MemoryLog(ManualClock())
    service = Service(log, clock=ManualClock())
    await service.open()

    async def invoke(function: str, event: bytes) -> bytes:
        if function == "absent":
            raise FunctionUnknown("there is none")
        return event

    door = PrivateDoor(service, Scope(), invoke)
    await door.start()
    path = door.url.removeprefix("unix:")
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    hidden = LocalClient(service, ELSEWHERE)
    await hidden.create_stream("firehose/lake")
    client = HttpClient(door.url, scope=ELSEWHERE)
    receipt = await client.put("firehose/lake", Records.of(["k"], [b"x"]))
    assert len(receipt.offset) == 1
    assert await client.call("arn:aws:lambda:a:b:function:c", b'{"a": 1}', 5) == b'{"a": 1}'
    with pytest.raises(ServiceUnavailable, match="there is none"):
        await client.call("absent", b"{}", 5)
    other = HttpClient(door.url)
    with pytest.raises(ResourceNotFound):
        await other.describe_stream("firehose/lake")
    await client.close()
    await other.close()
    await door.stop()
    assert not os.path.exists(path)
    late = HttpClient(door.url)
    with pytest.raises(ServiceUnavailable):
        await late.list_streams()
    await late.close()
    await service.close()
    await log.close()


async def test_the_public_door_hears_no_account(headrace: TestServer) -> None:
    client = HttpClient(headrace.url)
    await client.create_stream("seen")
    head = client._head

    def elsewhere(method: str, path: str, headers: dict[str, str], pieces: object) -> bytes:
        return head(method, path, {**headers, "x-headrace-account": ELSEWHERE.account}, pieces)  # type: ignore[arg-type]

    client._head = elsewhere  # type: ignore[method-assign] # what no client of ours says
    assert await client.list_streams() == ["seen"]
    with pytest.raises(InvalidArgument):
        await client.describe_stream("firehose/any")
    with pytest.raises(UnknownOperation):
        await client.call("any", b"{}", 5)
    await client.close()


@pytest.mark.headrace(
    credentials={
        "test": {"secret": "test", "user": "owner"},
        "looker": {"secret": "looks", "user": "looker", "policies": ["looking"]},
    },
    policies={
        "looking": [
            {"actions": ["kinesisanalytics:Describe*"], "resources": ["arn:aws:kinesisanalytics:*:*:application/app"]}
        ]
    },
)
def test_applications_run_where_callers_sign_and_callers_may_what_they_may(headrace: TestServer) -> None:
    kinesis, analytics = headrace.client("kinesis"), headrace.client("kinesisanalytics")
    for stream in ("in", "out"):
        kinesis.create_stream(StreamName=stream, ShardCount=1)
    analytics.create_application(
        ApplicationName="app",
        ApplicationCode=FILTER,
        Inputs=[source("in")],
        Outputs=[output("DESTINATION_SQL_STREAM", "out")],
    )
    begin(analytics, "app")
    put(kinesis, "in", [{"ticker": "A", "price": 11}])
    assert len(rows(kinesis, "out", 1)) == 1
    looker = session().client(
        "kinesisanalytics",
        endpoint_url=headrace.url,
        region_name="us-east-1",
        aws_access_key_id="looker",
        aws_secret_access_key="looks",
    )
    assert looker.describe_application(ApplicationName="app")["ApplicationDetail"]["ApplicationStatus"] == "RUNNING"
    with pytest.raises(looker.exceptions.ClientError, match="AccessDenied"):
        looker.stop_application(ApplicationName="app")
    second = headrace.client("kinesisanalyticsv2")
    assert second.describe_application(ApplicationName="app")["ApplicationDetail"]["ApplicationVersionId"] == 1
    end(analytics, "app")
