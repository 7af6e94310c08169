"""Lambda's API as boto3 speaks it, against a server."""

from __future__ import annotations

import base64
import io
import json
import time
import urllib.error
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from gateway.testing import TestServer
from streams.core.settings import FunctionSettings
from tests.firehose.harness import NEWLINES, function, processing, s3
from tests.system.process import ServerProcess

ROLE = "arn:aws:iam::000000000000:role/any"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"

HANDLER = """
import os, sys, json
calls = 0

def handler(event, context):
    global calls
    calls += 1
    print("called", calls)
    if event.get("raise"):
        raise ValueError(event["raise"])
    if event.get("exit"):
        sys.exit(3)
    if event.get("hang"):
        import time; time.sleep(60)
    if event.get("large"):
        return "x" * (7 << 20)
    if event.get("context"):
        return [context.invoked_function_arn, context.memory_limit_in_mb, context.client_context.custom,
                os.environ.get("GIVEN"), os.environ["AWS_REGION"]]
    return {"event": event, "calls": calls}

def other(event, context):
    return "other"
"""


def zipped(code: str = HANDLER, name: str = "module.py") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), code)  # of 1980: the same bytes at any second
    return target.getvalue()


def client(server: TestServer, **options: Any) -> Any:
    return server.client("lambda", config=Config(retries={"max_attempts": 0}, parameter_validation=False), **options)


def create(aws: Any, name: str = "f", **members: Any) -> dict[str, Any]:
    request = {"Runtime": "python3.12", "Role": ROLE, "Handler": "module.handler", "Code": {"ZipFile": zipped()}}
    found: dict[str, Any] = aws.create_function(**{"FunctionName": name, **request, **members})
    return found


def invoke(aws: Any, event: Any = None, name: str = "f", **members: Any) -> Any:
    reply = aws.invoke(FunctionName=name, Payload=json.dumps(event or {}), **members)
    return json.loads(reply["Payload"].read())


def refused(call: Any, **request: Any) -> tuple[int, str, str]:
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        call(**request)
    response = raised.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def test_the_life_of_a_function(headrace: TestServer) -> None:
    aws = client(headrace)
    made = create(
        aws, Description="d", Timeout=10, MemorySize=256, Environment={"Variables": {"GIVEN": "1"}}, Tags={"a": "b"}
    )
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    told = {name: made[name] for name in made if name not in ("ResponseMetadata", "LastModified", "RevisionId")}
    assert told == {
        "FunctionName": "f",
        "FunctionArn": f"{ARN}f",
        "Runtime": "python3.12",
        "Role": ROLE,
        "Handler": "module.handler",
        "CodeSize": len(zipped()),
        "Description": "d",
        "Timeout": 10,
        "MemorySize": 256,
        "CodeSha256": made["CodeSha256"],
        "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"},
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"},
        "Environment": {"Variables": {"GIVEN": "1"}},
    }
    aws.get_waiter("function_active_v2").wait(FunctionName="f")
    assert [invoke(aws, {"n": n})["calls"] for n in range(3)] == [1, 2, 3]

    changed = aws.update_function_configuration(FunctionName="f", Timeout=20, Environment={"Variables": {}})
    assert (changed["Timeout"], changed["MemorySize"], changed.get("Environment")) == (20, 256, None)
    assert changed["RevisionId"] != made["RevisionId"]
    aws.get_waiter("function_updated_v2").wait(FunctionName="f")
    assert invoke(aws)["calls"] == 1, "a change discards warm environments"

    again = aws.update_function_code(FunctionName="f", ZipFile=zipped("def handler(event, context): return 'new'"))
    assert again["CodeSha256"] != made["CodeSha256"]
    assert invoke(aws) == "new"

    found = aws.get_function(FunctionName=f"{ARN}f")
    assert found["Configuration"]["CodeSha256"] == again["CodeSha256"]
    assert found["Tags"] == {"a": "b"}
    assert aws.get_function_configuration(FunctionName="f", Qualifier="$LATEST")["FunctionArn"] == f"{ARN}f:$LATEST"
    assert aws.delete_function(FunctionName="000000000000:function:f")["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert aws.list_functions()["Functions"] == []
    missing = (404, "ResourceNotFoundException", f"Function not found: {ARN}f")
    assert refused(aws.invoke, FunctionName="f") == missing
    assert refused(aws.get_function, FunctionName="f") == missing
    assert refused(aws.delete_function, FunctionName="f") == missing


def test_what_invoke_answers(headrace: TestServer) -> None:
    aws = client(headrace)
    create(aws, Timeout=1, MemorySize=128, Environment={"Variables": {"GIVEN": "1"}})
    reply = aws.invoke(FunctionName="f", LogType="Tail")
    assert (reply["StatusCode"], reply["ExecutedVersion"]) == (200, "$LATEST")
    assert json.loads(reply["Payload"].read()) == {"event": {}, "calls": 1}
    log = base64.b64decode(reply["LogResult"]).decode()
    assert log.startswith("START RequestId: ")
    assert "\ncalled 1\nEND RequestId: " in log

    context = base64.b64encode(json.dumps({"custom": {"a": "é"}}).encode()).decode()
    seen = invoke(aws, {"context": True}, ClientContext=context)
    assert seen == [f"{ARN}f", "128", {"a": "é"}, "1", "us-east-1"]

    for event, words in (
        ({"raise": "no such plane"}, {"errorType": "ValueError", "errorMessage": "no such plane"}),
        ({"exit": True}, {"errorType": "Runtime.ExitError"}),
        ({"hang": True}, {"errorType": "Sandbox.Timedout"}),
        ({"large": True}, {"errorType": "Function.ResponseSizeTooLarge"}),
    ):
        reply = aws.invoke(FunctionName="f", Payload=json.dumps(event))
        assert (reply["StatusCode"], reply["FunctionError"]) == (200, "Unhandled")
        assert json.loads(reply["Payload"].read()).items() >= words.items()
    assert aws.invoke(FunctionName="f", InvocationType="DryRun")["StatusCode"] == 204


@pytest.mark.parametrize(
    ("members", "refusal"),
    [
        ({"Payload": b"{"}, (400, "InvalidRequestContentException", "Could not parse request body into json: ")),
        ({"Payload": b"NaN"}, (400, "InvalidRequestContentException", "Could not parse request body into json: ")),
        ({"ClientContext": "%"}, (400, "InvalidRequestContentException", "Client context must be a valid Base64")),
        ({"Payload": b'"' + b"x" * (6 << 20) + b'"'}, (413, "RequestTooLargeException", "smaller than 6291456 bytes")),
        ({"InvocationType": "Event"}, (400, "InvalidParameterValueException", "asynchronous invocation is not supp")),
        ({"Qualifier": "1"}, (404, "ResourceNotFoundException", f"Function not found: {ARN}f:1")),
        ({"FunctionName": "f:live"}, (404, "ResourceNotFoundException", f"Function not found: {ARN}f:live")),
        ({"FunctionName": "f:live", "Qualifier": "1"}, (400, "InvalidParameterValueException", "does not match")),
        (
            {"FunctionName": ARN.replace("us-east-1", "eu-west-1") + "f"},
            (404, "ResourceNotFoundException", "from 'eu-west-1' are not reachable in this region ('us-east-1')"),
        ),
        (
            {"FunctionName": "f/../../g", "InvocationType": "Sometimes"},
            (
                400,
                "ValidationException",
                "Value 'Sometimes' at 'invocationType' failed to satisfy constraint: Member must",
            ),
        ),
    ],
)
def test_what_invoke_refuses(headrace: TestServer, members: dict[str, Any], refusal: tuple[int, str, str]) -> None:
    aws = client(headrace)
    create(aws)
    status, code, message = refused(aws.invoke, **{"FunctionName": "f", **members})
    assert (status, code) == refusal[:2]
    assert refusal[2] in message


@pytest.mark.parametrize(
    ("members", "code", "words"),
    [
        (
            {"Timeout": 901},
            "ValidationException",
            "Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900",
        ),
        (
            {"MemorySize": 127},
            "ValidationException",
            "Value '127' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128",
        ),
        ({"MemorySize": 10241}, "ValidationException", "less than or equal to 10240"),
        ({"EphemeralStorage": {"Size": 100}}, "ValidationException", "'ephemeralStorage.size' failed"),
        (
            {"Role": "me"},
            "ValidationException",
            "Value 'me' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: ",
        ),
        (
            {"Runtime": "python1"},
            "ValidationException",
            "Value 'python1' at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [",
        ),
        (
            {"FunctionName": "a" * 65},
            "ValidationException",
            "at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64",
        ),
        (
            {"Runtime": "nodejs22.x"},
            "InvalidParameterValueException",
            "Runtime nodejs22.x is not supported by this server yet.",
        ),
        (
            {"Code": {"ZipFile": b"no zip"}},
            "InvalidParameterValueException",
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        ),
        (
            {"Code": {"ZipFile": zipped(name="../a.py")}},
            "InvalidParameterValueException",
            "'../a.py' leads out of the archive",
        ),
        ({"Code": {}}, "InvalidParameterValueException", "Please provide a source for function code."),
        (
            {"Code": {"ZipFile": b"", "S3Bucket": "code", "S3Key": "k"}},
            "InvalidParameterValueException",
            "Please do not provide other FunctionCode parameters when providing a ZipFile.",
        ),
        (
            {"Code": {"S3Bucket": "code", "S3Key": "no"}},
            "InvalidParameterValueException",
            "Error occurred while GetObject. S3 Error Code: NoSuchKey.",
        ),
        (
            {"Code": {"ImageUri": "x"}, "PackageType": "Image"},
            "InvalidParameterValueException",
            "PackageType Image is not",
        ),
        (
            {"Environment": {"Variables": {"AWS_REGION": "x"}}},
            "InvalidParameterValueException",
            "Reserved keys used in this request: AWS_REGION",
        ),
        (
            {"Environment": {"Variables": {"LONG": "x" * 5000}}},
            "InvalidParameterValueException",
            "exceeded the 4KB limit. String measured: {",
        ),
        ({"Publish": True}, "InvalidParameterValueException", "Publish: versions is not supported"),
        (
            {"DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:q"}},
            "InvalidParameterValueException",
            "asynchronous invocation is not",
        ),
        (
            {"Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:a:1"]},
            "InvalidParameterValueException",
            "Layers is not",
        ),
        ({"VpcConfig": {"SubnetIds": ["subnet-1"]}}, "InvalidParameterValueException", "VpcConfig is not"),
        (
            {"SnapStart": {"ApplyOn": "PublishedVersions"}},
            "InvalidParameterValueException",
            "SnapStart: versions is not",
        ),
    ],
)
def test_what_create_refuses(headrace: TestServer, members: dict[str, Any], code: str, words: str) -> None:
    aws = client(headrace)
    status, told, message = refused(lambda **asked: create(aws, **asked), **{"FunctionName": "f", **members})
    assert (status, told) == (400, code)
    assert words in message
    assert aws.list_functions()["Functions"] == []


def test_missing_runtime_and_a_name_that_is_taken(headrace: TestServer) -> None:
    aws = client(headrace)
    code = {"ZipFile": zipped()}
    told = refused(aws.create_function, FunctionName="f", Role=ROLE, Code=code)
    assert told[1:] == (
        "InvalidParameterValueException",
        "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
    )
    create(aws)
    assert refused(lambda: create(aws)) == (409, "ResourceConflictException", "Function already exist: f")


def test_changes_that_are_refused(headrace: TestServer) -> None:
    aws = client(headrace)
    made = create(aws)
    code = zipped("def handler(event, context): return 'new'")
    stale = refused(aws.update_function_code, FunctionName="f", ZipFile=code, RevisionId="old")
    assert stale[:2] == (412, "PreconditionFailedException")
    assert "The RevisionId provided does not match the latest RevisionId." in stale[2]
    assert refused(aws.update_function_configuration, FunctionName="f", RevisionId="old")[:2] == stale[:2]
    dry = aws.update_function_code(FunctionName="f", ZipFile=code, RevisionId=made["RevisionId"], DryRun=True)
    assert dry["CodeSha256"] != made["CodeSha256"]
    assert refused(aws.update_function_code, FunctionName="f", ZipFile=code, Publish=True)[1] == (
        "InvalidParameterValueException"
    )
    assert invoke(aws)["calls"] == 1, "nothing has changed"
    words = "$LATEST version cannot be deleted without deleting the function."
    assert refused(aws.delete_function, FunctionName="f", Qualifier="$LATEST")[1:] == (
        "InvalidParameterValueException",
        words,
    )


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("publish_version", {"FunctionName": "f"}),
        ("create_alias", {"FunctionName": "f", "Name": "live", "FunctionVersion": "1"}),
        ("list_aliases", {"FunctionName": "f"}),
        ("create_event_source_mapping", {"FunctionName": "f"}),
        ("list_event_source_mappings", {}),
        ("invoke_async", {"FunctionName": "f", "InvokeArgs": b"{}"}),
        ("put_function_event_invoke_config", {"FunctionName": "f"}),
        ("put_function_concurrency", {"FunctionName": "f", "ReservedConcurrentExecutions": 1}),
        ("get_account_settings", {}),
    ],
)
def test_what_is_not_offered_is_refused_with_an_error_of_the_model(
    headrace: TestServer, operation: str, request_: dict[str, Any]
) -> None:
    status, code, message = refused(getattr(client(headrace), operation), **request_)
    assert (status, code) == (400, "InvalidParameterValueException")
    assert message.endswith(" is not supported by this server yet.")


def test_pages_of_functions(headrace: TestServer) -> None:
    aws = client(headrace)
    for n in range(5):
        create(aws, f"f{n}")
    pages = list(aws.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    assert [[one["FunctionName"] for one in page["Functions"]] for page in pages] == [
        ["f0", "f1"],
        ["f2", "f3"],
        ["f4"],
    ]
    assert aws.list_functions(FunctionVersion="ALL")["Functions"][0]["FunctionArn"] == f"{ARN}f0:$LATEST"
    elsewhere = boto3.client("lambda", endpoint_url=headrace.url, region_name="eu-west-1")
    assert elsewhere.list_functions()["Functions"] == []


def test_code_can_be_had_again(headrace: TestServer) -> None:
    aws = client(headrace)
    create(aws)
    location = aws.get_function(FunctionName="f")["Code"]["Location"]
    with urllib.request.urlopen(location) as reply:
        assert reply.read() == zipped()
        assert reply.headers["Content-Type"] == "application/zip"

    def status(url: str) -> int:
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(url)
        return raised.value.code

    assert status(location.replace("signature=", "signature=0")) == 400
    assert status(location.replace("until=", "until=9")) == 400
    assert status(location.partition("?")[0]) == 400
    aws.update_function_code(FunctionName="f", ZipFile=zipped("def handler(event, context): return 'new'"))
    for _ in range(1000):  # the old archive goes when the last call of it has ended
        if not list((Path(headrace.settings.data) / "functions" / "code").glob(f"{location.split('/')[-1][:64]}.zip")):
            break
        time.sleep(0.01)
    assert status(location) == 404
    location = aws.get_function(FunctionName="f")["Code"]["Location"]
    headrace.advance(599)
    assert urllib.request.urlopen(location).status == 200
    headrace.advance(2)
    assert status(location) == 400


def test_tags_of_a_function(headrace: TestServer) -> None:
    aws = client(headrace)
    made = create(aws, Tags={"team": "air"})
    arn = made["FunctionArn"]
    assert invoke(aws)["calls"] == 1
    aws.tag_resource(Resource=arn, Tags={"stage": "test", "team": "sea"})
    aws.untag_resource(Resource=arn, TagKeys=["team", "none"])
    assert aws.list_tags(Resource=arn)["Tags"] == {"stage": "test"}
    assert aws.get_function(FunctionName="f")["Tags"] == {"stage": "test"}
    assert aws.get_function_configuration(FunctionName="f")["RevisionId"] == made["RevisionId"]
    assert invoke(aws)["calls"] == 2, "a tag discards no warm environment"
    for tags, code, words in (
        ({"aws:x": "1"}, "InvalidParameterValueException", "may not begin with aws:"),
        ({f"k{n}": "" for n in range(50)}, "InvalidParameterValueException", "at most 50 tags, not 51"),
        ({"": "1"}, "ValidationException", "have length greater than or equal to 1"),
        ({"k": "v" * 257}, "ValidationException", "256"),
    ):
        status, told, message = refused(aws.tag_resource, Resource=arn, Tags=tags)
        assert (status, told, words in message) == (400, code, True), message
    missing = f"{ARN}none"
    assert refused(aws.list_tags, Resource=missing)[:2] == (404, "ResourceNotFoundException")
    assert refused(aws.tag_resource, Resource=missing, Tags={"a": "b"})[:2] == (404, "ResourceNotFoundException")


def test_the_one_version_that_there_is(headrace: TestServer) -> None:
    aws = client(headrace)
    create(aws)
    (version,) = aws.list_versions_by_function(FunctionName="f")["Versions"]
    assert (version["Version"], version["FunctionArn"]) == ("$LATEST", f"{ARN}f:$LATEST")
    assert refused(aws.list_versions_by_function, FunctionName="none")[:2] == (404, "ResourceNotFoundException")


def test_code_from_a_bucket(headrace: TestServer, tmp_path: Path) -> None:
    bucket = Path(headrace.settings.data) / "buckets" / "code"
    bucket.mkdir(parents=True)
    (bucket / "f.zip").write_bytes(zipped())
    aws = client(headrace)
    create(aws, Code={"S3Bucket": "code", "S3Key": "f.zip"})
    assert invoke(aws)["calls"] == 1


def test_a_web_page_may_not_run_code(headrace: TestServer) -> None:
    create(client(headrace))
    request = urllib.request.Request(
        f"{headrace.url}/2015-03-31/functions/f/invocations", b"{}", {"Origin": "http://evil.example"}, method="POST"
    )
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request)
    assert json.loads(raised.value.read())["message"].startswith(
        "Functions cannot be created, changed or called from a"
    )


def test_what_is_no_operation(headrace: TestServer) -> None:
    for path in ("/2015-03-31/functions/f/nothing", "/2015-03-31/", "/2015-03-31/functions/a/b/c/d"):
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(urllib.request.Request(headrace.url + path, method="PATCH"))
        assert raised.value.headers["x-amzn-ErrorType"] == "UnknownOperationException"
    request = urllib.request.Request(f"{headrace.url}/2015-03-31/functions", b"[]", method="POST")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request)
    assert raised.value.headers["x-amzn-ErrorType"] == "SerializationException"


def test_a_delivery_stream_calls_a_function_that_was_created(headrace: TestServer) -> None:
    aws, firehose = client(headrace), headrace.client("firehose")
    upper = """
import base64
def handler(event, context):
    return {"records": [{"recordId": record["recordId"], "result": "Ok", "data": upper(record)} for record in event["records"]]}
def upper(record):
    return base64.b64encode(base64.b64decode(record["data"]).upper()).decode()
"""
    stream = {
        "DeliveryStreamName": "d",
        "ExtendedS3DestinationConfiguration": s3(**processing(function("f"), NEWLINES)),
    }
    told = refused(firehose.create_delivery_stream, **stream)
    assert told[1:] == (
        "InvalidArgumentException",
        "Function f does not exist: create it, or name it in the setting 'functions'.",
    )
    create(aws, Code={"ZipFile": zipped(upper)})
    firehose.create_delivery_stream(**stream)
    lake = Path(headrace.settings.data) / "buckets" / "lake"

    def delivered(data: bytes) -> bytes:
        """The next object after `data` was put."""
        before = set(lake.rglob("*-d-1-*")) | set(lake.rglob("d-1-*"))
        firehose.put_record(DeliveryStreamName="d", Record={"Data": data})
        for _ in range(1000):
            new = (set(lake.rglob("*-d-1-*")) | set(lake.rglob("d-1-*"))) - before
            if new:
                return new.pop().read_bytes()
            headrace.advance(10)
            time.sleep(0.02)
        raise AssertionError("nothing was delivered")

    assert delivered(b"one") == b"ONE\n"
    aws.update_function_code(FunctionName="f", ZipFile=zipped(upper.replace(".upper()", ".title()")))
    assert delivered(b"two") == b"Two\n"
    aws.delete_function(FunctionName="f")
    assert json.loads(delivered(b"three"))["errorCode"] == "Lambda.ResourceNotFound"


def test_an_update_lets_calls_under_way_end_as_they_began(headrace: TestServer) -> None:
    aws = client(headrace)
    slow = "import time\ndef handler(event, context):\n    time.sleep(1)\n    import late\n    return late.WORD"
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("module.py", slow)
        archive.writestr("late.py", "WORD = 'old'")
    create(aws, Code={"ZipFile": target.getvalue()})
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(invoke, client(headrace))
        code = Path(headrace.settings.data) / "functions" / "code"
        scratch = code.parent / "scratch"
        for _ in range(1000):
            if scratch.exists() and list(scratch.iterdir()):
                break
            time.sleep(0.01)
        aws.update_function_code(FunctionName="f", ZipFile=zipped("def handler(event, context): return 'new'"))
        assert invoke(aws) == "new"
        assert running.result() == "old"
    for _ in range(1000):
        if len(list(code.iterdir())) == 2:
            break
        time.sleep(0.01)
    assert len(list(code.iterdir())) == 2, "code that nothing runs any more is removed: one archive, one folder"


def test_functions_survive_a_killed_server(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        aws = server.start().client("lambda")
        kept = create(aws, "kept", Environment={"Variables": {"GIVEN": "1"}})
        create(aws, "gone")
        aws.delete_function(FunctionName="gone")
        aws.update_function_configuration(FunctionName="kept", MemorySize=256)
        changed = aws.update_function_code(
            FunctionName="kept", ZipFile=zipped("import os\ndef handler(event, context): return os.getpid()")
        )
        process = invoke(aws, name="kept")
        server.kill()
        for _ in range(1000):
            if not Path(f"/proc/{process}").exists():
                break
            time.sleep(0.01)
        assert not Path(f"/proc/{process}").exists(), "an environment outlives its server"
        aws = server.start().client("lambda")
        (found,) = aws.list_functions()["Functions"]
        assert found == {name: one for name, one in changed.items() if name != "ResponseMetadata"}
        assert found["CodeSha256"] != kept["CodeSha256"]
        assert (found["MemorySize"], found["Environment"]) == (256, {"Variables": {"GIVEN": "1"}})
        assert invoke(aws, name="kept") != process
        assert server.stop() == 0


def test_a_server_that_stops_does_not_wait_for_a_call() -> None:
    with TestServer() as server:
        aws = client(server)
        create(aws, Timeout=60)
        with ThreadPoolExecutor(1) as threads:
            call = threads.submit(refused, aws.invoke, FunctionName="f", Payload=b'{"hang": 1}')
            scratch = Path(server.settings.data) / "functions" / "scratch"
            for _ in range(1000):
                if scratch.exists() and list(scratch.iterdir()):
                    break
                time.sleep(0.01)
            server.stop()
            assert call.result() == (503, "ServiceUnavailableException", "The service is stopping.")


def test_states_of_a_server_that_takes_its_time() -> None:
    with TestServer(create_ms=1000, update_ms=1000) as server:
        aws = client(server)
        made = create(aws)
        assert (made["State"], made["StateReasonCode"]) == ("Pending", "Creating")
        words = (
            "The operation cannot be performed at this time. The function is currently in the following state: Pending"
        )
        assert refused(aws.invoke, FunctionName="f") == (409, "ResourceConflictException", words)
        assert refused(aws.update_function_configuration, FunctionName="f")[1] == "ResourceConflictException"
        server.advance(1)
        assert aws.get_function_configuration(FunctionName="f")["State"] == "Active"
        assert aws.update_function_configuration(FunctionName="f")["LastUpdateStatus"] == "InProgress"
        server.advance(1)
        assert aws.get_function_configuration(FunctionName="f")["LastUpdateStatus"] == "Successful"


def test_functions_of_the_settings_are_shown_and_called_and_not_changed(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(HANDLER)
    settings = FunctionSettings(directory=str(tmp_path), handler="module.other", memory_mb=256, timeout_s=5)
    with TestServer(functions={"f": settings}) as server:
        aws = client(server)
        (found,) = aws.list_functions()["Functions"]
        assert (found["FunctionArn"], found["Handler"], found["MemorySize"]) == (f"{ARN}f", "module.other", 256)
        assert invoke(aws) == "other"
        for call in (aws.delete_function, aws.update_function_configuration):
            assert refused(call, FunctionName="f")[1:] == (
                "ResourceConflictException",
                "Function f is one of the server's settings: it is changed there.",
            )
        assert refused(lambda: create(aws))[1:] == ("ResourceConflictException", "Function already exist: f")


def test_the_api_can_be_switched_off() -> None:
    with TestServer(function_api=False) as server:
        told = refused(lambda: create(client(server)))
        assert told[1:] == (
            "InvalidParameterValueException",
            "Functions cannot be created, changed or called here: function_api is off.",
        )


def test_signatures_and_permissions(tmp_path: Path) -> None:
    policies = {"reader": [{"actions": ["lambda:Get*", "lambda:InvokeFunction"], "resources": [f"{ARN}f"]}]}
    credentials = {"admin": "secret", "reader": {"secret": "secret", "policies": ["reader"]}}
    with TestServer(credentials=credentials, policies=policies) as server:

        def signed(key: str, secret: str = "secret") -> Any:
            return boto3.client(
                "lambda",
                endpoint_url=server.url,
                region_name="us-east-1",
                aws_access_key_id=key,
                aws_secret_access_key=secret,
            )

        create(signed("admin"))
        create(signed("admin"), "g")
        assert invoke(signed("reader"), name=f"{ARN}f:$LATEST")["calls"] == 1
        assert refused(signed("reader").invoke, FunctionName="g")[1] == "AccessDeniedException"
        assert refused(signed("reader").delete_function, FunctionName="f")[1] == "AccessDeniedException"
        assert refused(signed("reader", "wrong").get_function, FunctionName="f")[1] == "InvalidSignatureException"
        assert refused(signed("nobody").list_functions)[1] == "UnrecognizedClientException"


def test_logs_as_json(headrace: TestServer) -> None:
    aws = client(headrace)
    code = "import logging\ndef handler(event, context): logging.info('told %s', event)"
    made = create(
        aws,
        Code={"ZipFile": zipped(code)},
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "INFO"},
        TracingConfig={"Mode": "Active"},
    )
    shown = {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "LogGroup": "/aws/lambda/f"}
    assert (made["LoggingConfig"], made["TracingConfig"]) == (shown, {"Mode": "Active"})
    log = base64.b64decode(aws.invoke(FunctionName="f", Payload=b"1", LogType="Tail")["LogResult"]).decode()
    (line,) = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert (line["level"], line["message"]) == ("INFO", "told 1")
    changed = aws.update_function_configuration(FunctionName="f", TracingConfig={"Mode": "PassThrough"})
    assert (changed["LoggingConfig"], changed["TracingConfig"]) == (shown, {"Mode": "PassThrough"})
