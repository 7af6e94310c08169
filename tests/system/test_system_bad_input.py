"""Whatever comes to the port is answered precisely, costs nobody else anything, and leaves the server up."""

from __future__ import annotations

import asyncio
import base64
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import firehose.service
import streams.service
from gateway.app import App
from streams.core.clock import ManualClock
from streams.core.settings import Settings
from streams.wire.model import load
from tests.system.bad_input_support import CBOR, JSON, ROLE, Answer, Caller, cases, check, in_cbor, raw, unimpressed
from tests.system.process import ServerProcess
from tests.wire.wire_shapes import plain, to_cbor, to_json

STREAM, HOSE = "NAME", "HOSE"
ACCOUNT = "000000000000"
SHARD = "shardId-000000000000"
KINESIS_TARGET, FIREHOSE_TARGET, GLUE_TARGET = "Kinesis_20131202.", "Firehose_20150804.", "AWSGlue."
GLUE = frozenset({"CreateDatabase", "GetDatabase", "GetDatabases", "CreateTable", "GetTable", "GetTables"})
MIB = 1 << 20

BOTH = pytest.mark.parametrize("kind", [JSON, CBOR], ids=["JSON", "CBOR"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with unimpressed(tmp_path_factory.mktemp("bad") / "data") as server:
        server.client("kinesis").create_stream(StreamName=STREAM, ShardCount=2)
        server.client("firehose").create_delivery_stream(
            DeliveryStreamName=HOSE,
            ExtendedS3DestinationConfiguration={"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::lake"},
        )
        yield server


@pytest.fixture
def caller(server: ServerProcess) -> Iterator[Caller]:
    """After each test the server answers, on the same connection or on a new one."""
    caller = Caller(server.port)
    yield caller
    assert caller.healthy()
    caller.close()


@BOTH
@pytest.mark.parametrize("case", cases("requests"))
def test_a_request_that_asks_for_what_cannot_be(caller: Caller, case: dict[str, Any], kind: str) -> None:
    body = case["body"].encode() if kind == JSON else in_cbor(case["body"])
    check(caller.send(case["target"], kind, body), case)


@pytest.mark.parametrize("case", cases("bodies"))
def test_a_body_or_an_envelope_that_does_not_fit(caller: Caller, case: dict[str, Any]) -> None:
    kind, body = raw(case)
    target = case.get("target", KINESIS_TARGET + "ListStreams") * case.get("repeat_target", 1)
    check(caller.send(target, kind, body, case.get("method", "POST")), case)


@pytest.mark.parametrize("body", [b'{"Limit":0,"Limit":2}', b'{"Limit":"x","Limit":2}', b'{"Limit":null,"Lim":[{}]}'])
def test_the_last_of_two_members_counts_and_unknown_ones_do_not(caller: Caller, body: bytes) -> None:
    assert caller.send(KINESIS_TARGET + "ListStreams", JSON, body).told["StreamNames"] == [STREAM]


def test_a_body_that_is_too_large(caller: Caller) -> None:
    case = {
        "status": 413,
        "code": "RequestEntityTooLargeException",
        "message": "The request's body exceeds 67108864 bytes.",
        "unheard": True,
    }
    check(caller.send(KINESIS_TARGET + "ListStreams", JSON, b" " * (65 * MIB)), case)


# Records


def put(caller: Caller, kind: str, data: bytes, key: str) -> Answer:
    return caller.call(KINESIS_TARGET + "PutRecord", {"StreamName": STREAM, "Data": data, "PartitionKey": key}, kind)


def put_all(caller: Caller, kind: str, records: list[dict[str, Any]]) -> Answer:
    return caller.call(KINESIS_TARGET + "PutRecords", {"StreamName": STREAM, "Records": records}, kind)


def violation(value: str, member: str, constraint: str) -> tuple[str, str]:
    return (
        "ValidationException",
        f"1 validation error detected: Value{value} at '{member}' failed to satisfy constraint: Member must {constraint}",
    )


@BOTH
def test_the_size_of_a_record(caller: Caller, kind: str) -> None:
    """Data and key together are at most 1 MiB, of bytes."""
    for size, key in ((MIB - 1, "k"), (MIB - 4, "😀")):
        assert put(caller, kind, b"x" * size, key).status == 200
        refused = put(caller, kind, b"x" * (size + 1), key)
        assert (refused.status, refused.code) == (400, "InvalidArgumentException")
        assert refused.message == (
            "Data and partition key of 1048577 bytes exceed the maximum record size of 1024 KiB of stream NAME under"
            " account 000000000000."
        )
    for size, most in ((MIB + 1, MIB), (10 * MIB, MIB), (10 * MIB + 1, 10 * MIB)):
        buffer = f" 'java.nio.HeapByteBuffer[pos=0 lim={size} cap={size}]'"
        length = f"have length less than or equal to {most}"
        one = put(caller, kind, b"x" * size, "k")
        assert (one.code, one.message) == violation(buffer, "data", length)
        several = put_all(
            caller, kind, [{"Data": b"", "PartitionKey": "k"}, {"Data": b"x" * size, "PartitionKey": "k"}]
        )
        assert (several.code, several.message) == violation(buffer, "records.2.member.data", length)


@BOTH
def test_the_size_of_a_batch(caller: Caller, kind: str) -> None:
    full = [{"Data": b"x" * (MIB - 1), "PartitionKey": "k"}] * 10
    reply = put_all(caller, kind, full)
    assert (reply.status, reply.told["FailedRecordCount"]) == (200, 0)
    refused = put_all(caller, kind, [*full, {"Data": b"", "PartitionKey": "k"}])
    assert (refused.code, refused.message) == ("InvalidArgumentException", "Records size exceeds 10 MiB limit")
    for count in (501, 100_000):
        refused = put_all(caller, kind, [{"Data": b"", "PartitionKey": "k"}] * count)
        assert refused.code == "ValidationException"
        assert refused.message.endswith(
            "at 'records' failed to satisfy constraint: Member must have length less than or equal to 500"
        )
        assert len(refused.body) < 10_000, "it is not repeated whole"


@BOTH
@pytest.mark.parametrize("letter", ["a", "é", "😀", "\0"], ids=["ASCII", "é", "emoji", "NUL"])
def test_the_length_of_a_partition_key(caller: Caller, kind: str, letter: str) -> None:
    """Of 1 to 256 characters, whatever they take."""
    for length in (1, 256):
        reply = put_all(caller, kind, [{"Data": b"", "PartitionKey": letter * length}])
        assert (reply.status, reply.told["FailedRecordCount"]) == (200, 0)
    long = letter * 257
    refused = put(caller, kind, b"", long)
    assert (refused.code, refused.message) == violation(
        f" '{long}'", "partitionKey", "have length less than or equal to 256"
    )


@BOTH
def test_the_size_of_a_record_of_a_delivery_stream(caller: Caller, kind: str) -> None:
    def put(size: int) -> Answer:
        return caller.call(
            FIREHOSE_TARGET + "PutRecord", {"DeliveryStreamName": HOSE, "Record": {"Data": b"x" * size}}, kind
        )

    def put_batch(sizes: list[int]) -> Answer:
        records = [{"Data": b"x" * size} for size in sizes]
        return caller.call(FIREHOSE_TARGET + "PutRecordBatch", {"DeliveryStreamName": HOSE, "Records": records}, kind)

    assert put(0).status == put(1_024_000).status == 200
    refused = put(1_024_001)
    assert (refused.code, refused.message) == violation("", "record.data", "have length less than or equal to 1024000")
    whole = [1_000_000] * 4
    assert put_batch([*whole, (4 * MIB) - sum(whole)]).told["FailedPutCount"] == 0
    refused = put_batch([*whole, (4 * MIB) - sum(whole) + 1])
    assert (refused.code, refused.message) == ("InvalidArgumentException", "Records size exceeds 4 MB limit")
    refused = put_batch([0] * 501)
    assert (refused.code, refused.message) == violation("", "records", "have length less than or equal to 500")


@BOTH
def test_bytes_that_are_no_text_come_back_as_they_were(server: ServerProcess, caller: Caller, kind: str) -> None:
    stream = "bytes-" + kind[-8:-4]
    client = server.client("kinesis")
    client.create_stream(StreamName=stream, ShardCount=1)
    sent = [bytes(range(256)), b"", b"\0", b"\xff\xfe", "\ufeff😀".encode("utf-16"), b"\xed\xa0\x80", b"\r\n\x1a"]
    records = [{"Data": data, "PartitionKey": "\0\u2028😀"} for data in sent]
    assert caller.call(KINESIS_TARGET + "PutRecords", {"StreamName": stream, "Records": records}, kind).status == 200
    iterator = client.get_shard_iterator(StreamName=stream, ShardId=SHARD, ShardIteratorType="TRIM_HORIZON")
    got = client.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    assert [(record["Data"], record["PartitionKey"]) for record in got] == [(data, "\0\u2028😀") for data in sent]
    told = caller.call(KINESIS_TARGET + "GetRecords", {"ShardIterator": iterator["ShardIterator"]}, kind).told[
        "Records"
    ]
    assert [one["Data"] if kind == CBOR else base64.b64decode(one["Data"]) for one in told] == sent
    client.delete_stream(StreamName=stream)


# Iterators


def test_an_iterator_with_one_letter_changed_or_cut_off(server: ServerProcess, caller: Caller) -> None:
    iterator = server.client("kinesis").get_shard_iterator(
        StreamName=STREAM, ShardId=SHARD, ShardIteratorType="LATEST"
    )["ShardIterator"]
    letters = string.ascii_letters + string.digits + "+/"
    forged = [iterator[:length] for length in range(1, len(iterator))] + [iterator + "A", iterator * 2]
    for place, letter in enumerate(iterator.rstrip("=")):
        for bit in (1, 32):
            other = letters[letters.index(letter) ^ bit]
            changed = iterator[:place] + other + iterator[place + 1 :]
            if base64.b64decode(changed) != base64.b64decode(iterator):
                forged.append(changed)
    for text in forged:
        refused = caller.call(KINESIS_TARGET + "GetRecords", {"ShardIterator": text})
        assert (refused.status, refused.code, refused.message) == (
            400,
            "InvalidArgumentException",
            "Invalid ShardIterator.",
        )
    assert caller.call(KINESIS_TARGET + "GetRecords", {"ShardIterator": iterator}).status == 200


def test_an_iterator_of_another_stream(server: ServerProcess, caller: Caller) -> None:
    client = server.client("kinesis")
    client.create_stream(StreamName="passing", ShardCount=1)
    iterator = client.get_shard_iterator(StreamName="passing", ShardId=SHARD, ShardIteratorType="TRIM_HORIZON")[
        "ShardIterator"
    ]
    number = client.put_record(StreamName="passing", Data=b"", PartitionKey="k")["SequenceNumber"]
    arn = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/{STREAM}"

    def refused(operation: str, **request: str) -> tuple[str, str]:
        answer = caller.call(KINESIS_TARGET + operation, request)
        assert answer.status == 400
        return answer.code, answer.message

    assert refused("GetRecords", ShardIterator=iterator, StreamARN=arn) == (
        "InvalidArgumentException",
        f"StreamARN {arn} is not the stream of the ShardIterator.",
    )
    after = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": number}
    assert refused("GetShardIterator", StreamName=STREAM, ShardId="shardId-000000000001", **after) == (
        "InvalidArgumentException",
        "Invalid StartingSequenceNumber. It encodes shardId-000000000000, while it was used in a call to a shard with"
        " shardId-000000000001",
    )
    client.delete_stream(StreamName="passing")
    gone = ("ResourceNotFoundException", f"Stream passing under account {ACCOUNT} not found.")
    assert refused("GetRecords", ShardIterator=iterator) == gone
    client.create_stream(StreamName="passing", ShardCount=1)
    assert refused("GetRecords", ShardIterator=iterator) == ("InvalidArgumentException", "Invalid ShardIterator.")
    client.delete_stream(StreamName="passing")


async def test_an_iterator_that_has_expired(tmp_path: Path) -> None:
    clock = ManualClock(1_795_000_000_000)
    async with await App.start(Settings(data=str(tmp_path), port=0), clock=clock) as app:
        caller = Caller(int(app.url.rpartition(":")[2]))

        async def call(operation: str, **request: Any) -> Answer:
            return await asyncio.to_thread(caller.call, KINESIS_TARGET + operation, request)

        assert (await call("CreateStream", StreamName=STREAM, ShardCount=1)).status == 200
        asked = {"StreamName": STREAM, "ShardId": SHARD, "ShardIteratorType": "LATEST"}
        iterator = (await call("GetShardIterator", **asked)).told["ShardIterator"]
        clock.advance(300)
        assert (await call("GetRecords", ShardIterator=iterator)).status == 200
        clock.advance(0.001)
        late = await call("GetRecords", ShardIterator=iterator)
        assert (late.status, late.code, late.message) == (
            400,
            "ExpiredIteratorException",
            "Iterator expired. The iterator was created at time Wed Nov 18 11:06:40 UTC 2026 while right now it is Wed Nov"
            " 18 11:11:40 UTC 2026 which is further in the future than the tolerated delay of 300000 milliseconds.",
        )
        caller.close()


# Operations


OPERATIONS = {
    "kinesis": (KINESIS_TARGET, frozenset(streams.service.OPERATIONS)),
    "firehose": (FIREHOSE_TARGET, frozenset(firehose.service.OPERATIONS)),
    "glue": (GLUE_TARGET, GLUE),
}
"""By the name of the service's model: its target, and what is built of it."""


@BOTH
@pytest.mark.parametrize("service", OPERATIONS)
def test_every_operation_without_a_word(caller: Caller, service: str, kind: str) -> None:
    prefix, built = OPERATIONS[service]
    listing = {
        "ListStreams",
        "ListQueues",
        "ListDeliveryStreams",
        "GetDatabases",
        "DescribeAccountSettings",
        "DescribeLimits",
    }
    for name in load(service).operations:
        answer = caller.call(prefix + name, {}, kind)
        assert answer.status == (200 if name in listing else 400), name
        if name not in listing:
            unbuilt = set() if name in built else {"UnsupportedOperationException"}
            assert answer.code in {"ValidationException", "InvalidArgumentException", *unbuilt}, name
            assert answer.message, name


@BOTH
@pytest.mark.parametrize("service", ["kinesis", "firehose"])
def test_an_operation_that_is_not_built_says_so(caller: Caller, service: str, kind: str) -> None:
    prefix, built = OPERATIONS[service]
    operations = load(service).operations
    assert built <= set(operations)
    for name in sorted(set(operations) - built):
        shape = operations[name].input
        answer = caller.call(
            prefix + name, to_json(plain(shape)) if kind == JSON else to_cbor(shape, plain(shape)), kind
        )
        assert (answer.status, answer.code, answer.message) == (
            400,
            "UnsupportedOperationException",
            f"Headrace does not offer {name} yet.",
        )


@BOTH
@pytest.mark.parametrize("service", ["kinesis", "firehose"])
def test_every_operation_on_a_stream_that_does_not_exist(caller: Caller, service: str, kind: str) -> None:
    prefix, built = OPERATIONS[service]
    member, noun = {"kinesis": ("StreamName", "Stream"), "firehose": ("DeliveryStreamName", "Firehose")}[service]
    for name in built - {"CreateStream", "CreateDeliveryStream"}:
        shape = load(service).operations[name].input
        if member in shape.members:
            request = {**plain(shape), member: "absent"}
            if service == "kinesis" and "PartitionKey" in shape.members:
                request["PartitionKey"] = "k"
            answer = caller.call(prefix + name, to_cbor(shape, request) if kind == CBOR else to_json(request), kind)
            assert (answer.status, answer.code, answer.message) == (
                400,
                "ResourceNotFoundException",
                f"{noun} absent under account {ACCOUNT} not found.",
            ), name


def test_boto3_raises_the_errors_of_its_model(server: ServerProcess) -> None:
    client = server.client("kinesis", parameter_validation=False)
    missing = client.exceptions.ResourceNotFoundException
    invalid = client.exceptions.InvalidArgumentException
    for error, call in (
        (missing, lambda: client.put_record(StreamName="absent", Data=b"", PartitionKey="k")),
        (missing, lambda: client.delete_stream(StreamName="absent")),
        (invalid, lambda: client.describe_stream()),
        (invalid, lambda: client.get_records(ShardIterator="forged")),
        (client.exceptions.ResourceInUseException, lambda: client.create_stream(StreamName=STREAM, ShardCount=1)),
        (client.exceptions.ValidationException, lambda: client.create_stream(StreamName="a/b", ShardCount=1)),
        (client.exceptions.ValidationException, lambda: client.list_channels()),
        (missing, lambda: client.describe_queue(QueueARN="arn:aws:kinesis:us-east-1:000000000000:queue/absent")),
    ):
        with pytest.raises(error) as raised:
            call()
        metadata = raised.value.response["ResponseMetadata"]
        assert metadata["HTTPStatusCode"] == 400
        assert metadata["RequestId"]
        assert raised.value.response["Error"]["Message"]
