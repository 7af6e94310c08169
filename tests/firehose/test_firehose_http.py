"""The HTTP endpoint destination, against a real server that checks the protocol and misbehaves on demand."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from connectors.files import Store, open_store
from firehose.pages import folder_of
from gateway import certificates
from gateway.testing import TestServer
from streams.core.errors import InvalidArgument, RequestError
from tests.firehose.harness import NEWLINES, SCOPE, House, function, processing, s3
from tests.firehose.test_firehose_updates import DESTINATION, description

Answer = Callable[[dict[str, Any]], Awaitable[web.Response]]


async def taken(body: dict[str, Any]) -> web.Response:
    return web.json_response({"requestId": body["requestId"], "timestamp": body["timestamp"] + 1})


class Receiver:
    """Takes requests; `answers` are given in turn, then each is taken."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.taken: list[bytes] = []
        self.answers: list[Answer] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        self.requests.append((dict(request.headers), body))
        response = await (self.answers.pop(0) if self.answers else taken)(body)
        if response.status == 200 and response.content_type == "application/json":
            self.taken += [base64.b64decode(record["data"]) for record in body["records"]]
        return response

    async def serve(self, context: ssl.SSLContext | None = None) -> web.AppRunner:
        app = web.Application(client_max_size=1 << 27)
        app.router.add_post("/", self.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        (address,) = runner.addresses
        self.url = f"http{'s' if context else ''}://127.0.0.1:{address[1]}/"
        return runner


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    runner = await receiver.serve()
    yield receiver
    await runner.cleanup()


def http(url: str, *, retry_s: int = 60, **members: Any) -> dict[str, Any]:
    return {
        "EndpointConfiguration": {"Url": url, "Name": "mine", "AccessKey": "secret"},
        "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 10},
        "RetryOptions": {"DurationInSeconds": retry_s},
        "S3Configuration": s3(),
        **members,
    }


async def create(house: House, url: str, *, kinesis: str | None = None, **members: Any) -> None:
    source: dict[str, Any] = {}
    if kinesis is not None:
        arn = SCOPE.stream_arn(kinesis)
        source = {
            "DeliveryStreamType": "KinesisStreamAsSource",
            "KinesisStreamSourceConfiguration": {"KinesisStreamARN": arn, "RoleARN": s3()["RoleARN"]},
        }
    await house.call(
        "CreateDeliveryStream",
        DeliveryStreamName="flights",
        **source,
        HttpEndpointDestinationConfiguration=http(url, **members),
    )


def lines(house: House) -> list[dict[str, Any]]:
    found = [content for name, content in house.objects().items() if name.startswith("http-endpoint-failed/2023/")]
    return [json.loads(line) for content in found for line in content.splitlines()]


async def test_a_request_has_all_that_the_protocol_says(tmp_path: Path, receiver: Receiver) -> None:
    async with House(tmp_path, firehose_compat="emulator") as house:
        attributes = [{"AttributeName": "a", "AttributeValue": "1"}, {"AttributeName": "é", "AttributeValue": '"'}]
        request = {"ContentEncoding": "GZIP", "CommonAttributes": attributes}
        await create(house, receiver.url, RequestConfiguration=request)
        await house.put("firehose/flights", [b"one", b"\x00\xff"])
        await house.until(lambda: house.settled() == 2, step_s=1)
        ((headers, body),) = receiver.requests
        assert headers["X-Amz-Firehose-Protocol-Version"] == "1.0"
        assert headers["X-Amz-Firehose-Request-Id"] == body["requestId"]
        assert headers["X-Amz-Firehose-Source-Arn"] == SCOPE.delivery_stream_arn("flights")
        assert headers["X-Amz-Firehose-Access-Key"] == "secret"
        common = json.loads(headers["X-Amz-Firehose-Common-Attributes"])
        assert common == {"commonAttributes": {"a": "1", "é": '"'}}
        assert (headers["Content-Type"], headers["Content-Encoding"]) == ("application/json", "gzip")
        assert body["timestamp"] >= 1_700_000_000_000
        assert receiver.taken == [b"one", b"\x00\xff"]
        assert not house.objects()


async def test_records_pass_the_function_and_the_delimiter(tmp_path: Path, receiver: Receiver) -> None:
    functions = {"sort_out": "tests.firehose.functions:sort_out"}
    async with House(tmp_path, firehose_compat="emulator", functions=functions) as house:
        await create(house, receiver.url, **processing(function("sort_out"), NEWLINES))
        await house.put("firehose/flights", [b"k1", b"d2", b"f3"])
        await house.until(lambda: house.settled() == 3, step_s=1)
        assert receiver.taken == [b"k1\n"]
        assert [name.partition("/")[0] for name in house.objects()] == ["processing-failed"]


async def refused(body: dict[str, Any]) -> web.Response:
    return web.json_response({"requestId": body["requestId"], "timestamp": 1, "errorMessage": "busy"}, status=500)


async def other_id(body: dict[str, Any]) -> web.Response:
    return web.json_response({"requestId": "another", "timestamp": 1})


async def no_timestamp(body: dict[str, Any]) -> web.Response:
    return web.json_response({"requestId": body["requestId"]})


async def text(body: dict[str, Any]) -> web.Response:
    return web.Response(text=json.dumps({"requestId": body["requestId"], "timestamp": 1}))


async def empty(body: dict[str, Any]) -> web.Response:
    return web.Response(body=b"", content_type="application/json")


async def encoded(body: dict[str, Any]) -> web.Response:
    answer = gzip.compress(json.dumps({"requestId": body["requestId"], "timestamp": 1}).encode())
    return web.Response(body=answer, content_type="application/json", headers={"Content-Encoding": "gzip"})


async def huge(body: dict[str, Any]) -> web.Response:
    return web.Response(body=b" " * (1 << 20) + b"x", content_type="application/json")


async def too_large(body: dict[str, Any]) -> web.Response:
    return web.Response(status=413, text="no")


async def moved(body: dict[str, Any]) -> web.Response:
    return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})


WRONG: list[tuple[Answer, str, str]] = [
    (refused, "DestinationException", "500"),
    (moved, "DestinationException", "302"),
    (other_id, "InvalidResponseFromDestination", "requestId is another"),
    (no_timestamp, "InvalidResponseFromDestination", "timestamp"),
    (text, "InvalidResponseFromDestination", "Content-Type is text/plain"),
    (encoded, "InvalidResponseFromDestination", "Content-Encoding"),
    (huge, "ResponseTooLarge", "1048576"),
]


@pytest.mark.parametrize(("answer", "code", "words"), WRONG, ids=[answer.__name__ for answer, _, _ in WRONG])
async def test_an_answer_that_is_none_is_tried_again_then_backed_up(
    tmp_path: Path, receiver: Receiver, answer: Answer, code: str, words: str
) -> None:
    receiver.answers = [answer] * 100
    async with House(tmp_path, firehose_compat="emulator") as house:
        await create(house, receiver.url, retry_s=20)
        await house.put("firehose/flights", [b"one", b"two"])
        await house.until(lambda: house.settled() == 2, step_s=1)
        found = lines(house)
        assert [base64.b64decode(line["rawData"]) for line in found] == [b"one", b"two"]
        assert {line["errorCode"] for line in found} == {f"HttpEndpoint.{code}"}
        assert all(words in line["errorMessage"] for line in found)
        assert {line["attemptsMade"] for line in found} == {len(receiver.requests)}
        assert 4 <= len(receiver.requests) <= 8
        assert len({body["requestId"] for _, body in receiver.requests}) == 1
        assert {line["subsequenceNumber"] for line in found} == {0}
        assert all(line["dataId"].endswith(".0") and len(line["dataId"]) == 58 for line in found)
        assert {line["arrivalTimestamp"] for line in found} == {1_700_000_000_000}


async def test_an_emulator_takes_an_empty_answer_for_one(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [empty]
    async with House(tmp_path, firehose_compat="emulator") as house:
        await create(house, receiver.url)
        await house.put("firehose/flights", [b"one"])
        await house.until(lambda: house.settled() == 1, step_s=1)
        assert (len(receiver.requests), receiver.taken, house.objects()) == (1, [b"one"], {})


async def test_413_is_not_tried_again(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [too_large]
    async with House(tmp_path, firehose_compat="emulator") as house:
        await create(house, receiver.url)
        await house.put("firehose/flights", [b"one"])
        await house.until(lambda: house.settled() == 1, step_s=1)
        assert (len(receiver.requests), len(lines(house))) == (1, 1)


async def test_without_a_budget_nothing_is_tried_again(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [refused]
    async with House(tmp_path, firehose_compat="emulator") as house:
        await create(house, receiver.url, retry_s=0)
        await house.put("firehose/flights", [b"one"])
        await house.until(lambda: house.settled() == 1, step_s=1)
        assert (len(receiver.requests), len(lines(house))) == (1, 1)


async def test_a_retry_that_is_taken(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [refused, other_id]
    async with House(tmp_path, firehose_compat="emulator") as house:
        await create(house, receiver.url)
        await house.put("firehose/flights", [b"one"])
        await house.until(lambda: house.settled() == 1, step_s=1)
        assert len(receiver.requests) == 3
        assert not house.objects()


async def test_an_endpoint_that_does_not_answer(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.http_client.TIMEOUT_S", 0.1)
    waiting = asyncio.Event()

    async def silent(body: dict[str, Any]) -> web.Response:
        await waiting.wait()
        return await taken(body)

    receiver.answers = [silent]
    async with House(tmp_path, firehose_compat="emulator") as house:
        await create(house, receiver.url, retry_s=0)
        await house.put("firehose/flights", [b"one"])
        await house.until(lambda: house.settled() == 1, step_s=1)
        waiting.set()
        (line,) = lines(house)
        assert line["errorCode"] == "HttpEndpoint.RequestTimeout"


@pytest.mark.parametrize(
    ("url", "code"),
    [("http://127.0.0.1:1/", "ConnectionFailed"), ("https{}", "SSLHandshakeFailure"), ("reset", "ConnectionReset")],
)
async def test_a_connection_that_fails(tmp_path: Path, receiver: Receiver, url: str, code: str) -> None:
    async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = {"https{}": receiver.url.replace("http", "https"), "reset": f"http://127.0.0.1:{port}/"}.get(url, url)
    async with House(tmp_path, firehose_compat="emulator") as house:
        await create(house, url, retry_s=0)
        await house.put("firehose/flights", [b"one"])
        await house.until(lambda: house.settled() == 1, step_s=1)
        (line,) = lines(house)
        assert line["errorCode"] == f"HttpEndpoint.{code}"
    server.close()
    await server.wait_closed()


async def test_large_batches_are_cut_at_ten_thousand_records(tmp_path: Path, receiver: Receiver) -> None:
    async with House(tmp_path, firehose_compat="emulator") as house:
        await create(house, receiver.url)
        await house.put("firehose/flights", [b"%05d" % n for n in range(25_000)])
        await house.until(lambda: house.settled() == 25_000, step_s=1)
        assert sorted(len(body["records"]) for _, body in receiver.requests) == [5_000, 10_000, 10_000]
        assert sorted(receiver.taken) == [b"%05d" % n for n in range(25_000)]


async def test_all_data_is_copied_and_only_failed_data_goes_to_the_error_output(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answers = [too_large]
    async with House(tmp_path, firehose_compat="emulator") as house:
        await create(house, receiver.url, S3BackupMode="AllData", S3Configuration=s3("copy"))
        await house.put("firehose/flights", [b"one"])
        await house.until(lambda: len(house.objects("copy")) == 2, step_s=10)
        names = sorted(house.objects("copy").items(), key=lambda item: item[0].startswith("http"))
        assert names[0][1] == b"one"
        assert b"HttpEndpoint.DestinationException" in names[1][1]


async def test_what_is_described_and_what_an_update_keeps(tmp_path: Path, receiver: Receiver) -> None:
    async with House(tmp_path, firehose_compat="emulator") as house:
        await create(house, receiver.url)
        found = (await description(house))["Destinations"][0]["HttpEndpointDestinationDescription"]
        assert found["EndpointConfiguration"] == {"Url": receiver.url, "Name": "mine"}
        assert found["S3BackupMode"] == "FailedDataOnly"
        assert found["RequestConfiguration"] == {"ContentEncoding": "NONE", "CommonAttributes": []}
        assert found["S3DestinationDescription"]["BucketARN"] == "arn:aws:s3:::lake"

        async def update(version: str, **members: Any) -> None:
            await house.call(
                "UpdateDestination",
                DeliveryStreamName="flights",
                CurrentDeliveryStreamVersionId=version,
                DestinationId=DESTINATION,
                HttpEndpointDestinationUpdate=members,
            )

        await update("1", EndpointConfiguration={"Url": receiver.url + "?v2"}, S3Update={"Prefix": "p/"})
        await house.put("firehose/flights", [b"one"])
        await house.until(lambda: house.settled() == 1, step_s=1)
        assert receiver.requests[0][0]["X-Amz-Firehose-Access-Key"] == "secret"
        await update("2", S3BackupMode="AllData")
        with pytest.raises(InvalidArgument, match="from FailedDataOnly to AllData, and not back"):
            await update("3", S3BackupMode="FailedDataOnly")
        found = (await description(house))["Destinations"][0]["HttpEndpointDestinationDescription"]
        assert found["S3DestinationDescription"]["Prefix"] == "p/"


async def test_from_a_bucket_to_an_endpoint_and_back(tmp_path: Path, receiver: Receiver) -> None:
    async with House(tmp_path, firehose_compat="emulator") as house:
        await house.create(**processing(NEWLINES))
        await house.put("firehose/flights", [b"1"])
        await house.until(house.delivered, step_s=10)
        change = {"DeliveryStreamName": "flights", "DestinationId": DESTINATION}
        with pytest.raises(InvalidArgument, match="S3Configuration is required when the type"):
            await house.call(
                "UpdateDestination",
                **change,
                CurrentDeliveryStreamVersionId="1",
                HttpEndpointDestinationUpdate={"EndpointConfiguration": {"Url": receiver.url}},
            )
        configuration = http(receiver.url)
        configuration["S3Update"] = configuration.pop("S3Configuration")
        await house.put("firehose/flights", [b"2"])
        await house.call(
            "UpdateDestination",
            **change,
            CurrentDeliveryStreamVersionId="1",
            HttpEndpointDestinationUpdate=configuration,
        )
        await house.until(lambda: house.settled() == 2, step_s=1)
        assert receiver.taken == [b"2"]
        await house.call(
            "UpdateDestination", **change, CurrentDeliveryStreamVersionId="2", ExtendedS3DestinationUpdate=s3()
        )
        await house.put("firehose/flights", [b"3"])
        await house.until(lambda: len(house.objects()) == 2, step_s=10)
        assert sorted(house.objects().values()) == [b"1\n", b"3"]


async def test_a_copy_that_ends_with_its_type_begins_anew_with_the_next(tmp_path: Path, receiver: Receiver) -> None:
    async with House(tmp_path, firehose_compat="emulator") as house:

        async def update(version: str, **update: Any) -> None:
            await house.call(
                "UpdateDestination",
                DeliveryStreamName="flights",
                DestinationId=DESTINATION,
                CurrentDeliveryStreamVersionId=version,
                **update,
            )

        async def put(record: bytes, count: int) -> None:
            await house.put("firehose/flights", [record])
            await house.until(lambda: house.settled() == count, step_s=10)

        kept = {"S3BackupMode": "Enabled", "S3BackupConfiguration": s3("copy")}
        await house.create(**kept)
        await put(b"1", 1)
        await house.until(lambda: len(house.objects("copy")) == 1, step_s=10)
        pushed = http(receiver.url)
        pushed["S3Update"] = pushed.pop("S3Configuration")
        await update("1", HttpEndpointDestinationUpdate=pushed)
        await put(b"2", 2)
        kept["S3BackupUpdate"] = kept.pop("S3BackupConfiguration")
        await update("2", ExtendedS3DestinationUpdate=s3(**kept))
        await put(b"3", 3)
        await house.until(lambda: len(house.objects("copy")) == 2, step_s=10)
        assert sorted(house.objects("copy").values()) == [b"1", b"3"]
        await house.settle()
        assert not house.findings()
        assert [path.name for path in folder_of(tmp_path, 1).iterdir() if "until" in path.name] == ["backup-until-3"]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"BufferingHints": {"SizeInMBs": 1}}, "needs both SizeInMBs and IntervalInSeconds"),
    (
        {
            "RequestConfiguration": {
                "CommonAttributes": [{"AttributeName": "a", "AttributeValue": v} for v in ("1", "2")]
            }
        },
        "have to be different",
    ),
    ({"S3Configuration": s3(interval=1)}, "at least 60 seconds for S3 backup"),
    (
        {
            "SecretsManagerConfiguration": {
                "Enabled": True,
                "SecretARN": "arn:aws:secretsmanager:us-east-1:000000000000:secret:s",
            }
        },
        "SecretsManagerConfiguration is not supported",
    ),
    ({"EndpointConfiguration": {"Url": "http://plain/"}}, r"regular expression pattern: https://\.\*"),
]


@pytest.mark.parametrize(("members", "words"), BAD, ids=[words[:30] for _, words in BAD])
async def test_an_endpoint_that_cannot_be(tmp_path: Path, members: dict[str, Any], words: str) -> None:
    async with House(tmp_path) as house:
        with pytest.raises(RequestError, match=words):
            await create(house, "https://somewhere/", **members)


async def test_a_crash_repeats_the_request_under_its_id(tmp_path: Path, receiver: Receiver) -> None:
    house = House(tmp_path, firehose_compat="emulator")
    receiver.answers = [refused]
    async with house:
        await create(house, receiver.url, retry_s=7200)
        await house.put("firehose/flights", [b"one"])
        await house.until(lambda: len(receiver.requests) == 1, step_s=1)
    async with house:
        await house.until(lambda: house.settled() == 1, step_s=1)
        first, second = (body for _, body in receiver.requests)
        assert first == second
        assert receiver.taken == [b"one"]


async def test_what_was_given_up_stays_given_up_through_a_crash(tmp_path: Path, receiver: Receiver) -> None:
    def stores(url: str) -> Store:
        if away:
            raise OSError("away")
        return open_store(url)

    away = True
    house = House(tmp_path, firehose_compat="emulator", stores=stores)
    receiver.answers = [too_large]
    async with house:
        await create(house, receiver.url)
        await house.put("firehose/flights", [b"one"])

        def replaced() -> bool:
            (stream,) = house.streams()
            return any(not one.request for plan in stream.main.plans.values() for one in plan.objects)

        await house.until(replaced, step_s=1)
    away = False
    async with house:
        await house.until(lambda: house.settled() == 1, step_s=1)
        assert (len(receiver.requests), len(lines(house))) == (1, 1)
        assert not list((tmp_path / "firehose" / "staging").rglob("*.*"))


async def test_a_stream_is_posted_through_kills_at_least_once(tmp_path: Path, receiver: Receiver) -> None:
    house = House(tmp_path, firehose_compat="emulator")
    sent: list[bytes] = []
    async with house:
        await house.client.create_stream("air", 2)
        await create(house, receiver.url, kinesis="air")
    for turn in range(8):
        receiver.answers = [refused] * (turn % 3)
        async with house:
            records = [b"%04d" % (len(sent) + n) for n in range(50)]
            await house.put("air", records)
            sent += records
            house.clock.advance(11)
            await asyncio.sleep(0.01 * (turn % 4))
    async with house:
        await house.until(lambda: house.settled() == len(sent), step_s=1)
    assert set(Counter(receiver.taken)) == set(sent)
    assert not house.objects()


def test_boto3_over_tls(headrace: TestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that the environment trusts, and the server's own retries until it is there."""
    receiver = Receiver()
    certificate, key = certificates.ensure(tmp_path, [], datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    async def run() -> None:
        runner = await receiver.serve(context)
        receiver.answers = [empty]
        firehose = headrace.client("firehose")

        def put() -> None:
            firehose.create_delivery_stream(
                DeliveryStreamName="a", HttpEndpointDestinationConfiguration=http(receiver.url)
            )
            firehose.put_record(DeliveryStreamName="a", Record={"Data": b"one"})

        await asyncio.to_thread(put)
        async with asyncio.timeout(60):
            while len(receiver.requests) < 2:  # the empty answer is none: the request comes again
                await asyncio.to_thread(headrace.advance, 10)
        await runner.cleanup()

    asyncio.run(run())
    assert receiver.taken == [b"one", b"one"]
