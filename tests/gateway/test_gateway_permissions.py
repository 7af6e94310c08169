"""Who may do what: keys with policies, policies of resources, accounts, temporary keys, quotas, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from gateway.app import App
from streams.core.clock import ManualClock
from streams.core.errors import AccessDenied, LimitExceeded, SettingsError, UnrecognizedClient
from streams.core.records import Records
from streams.core.settings import Settings, load
from streams.sdk.http import HttpClient
from tests.aws import session

SETTINGS = """
[credentials]
ROOT = "root secret"
WRITER = { secret = "writer secret", user = "writer", policies = ["write-orders"] }
READER = { secret = "reader secret", policies = ["read"] }
NOBODY = { secret = "nobody secret", policies = [] }
OTHER = { secret = "other secret", account = "222222222222" }
BRIEF = { secret = "brief secret", token = "brief token", expires = 2023-11-15T00:00:00Z }
SLOW = { secret = "slow secret", requests_per_s = 2, mib_per_s = 1 }

[[policies.write-orders]]
actions = ["kinesis:PutRecord*", "kinesis:Describe*", "firehose:PutRecord*"]
resources = ["arn:aws:kinesis:*:*:stream/orders*", "arn:aws:firehose:*:*:deliverystream/orders*"]

[[policies.read]]
actions = ["kinesis:Get*", "kinesis:List*", "kinesis:Describe*", "kinesis:SubscribeToShard"]

[[policies.read]]
effect = "deny"
actions = ["kinesis:*"]
resources = ["arn:aws:kinesis:*:*:stream/secret"]
"""
START_MS = 1_700_000_000_000
"""2023-11-14, before BRIEF ends."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    clock = ManualClock(START_MS)
    monkeypatch.setattr(
        "botocore.auth.get_current_datetime", lambda *_: datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
    )
    return clock


@pytest.fixture
async def app(tmp_path: Path, clock: ManualClock) -> AsyncIterator[App]:
    (tmp_path / "headrace.toml").write_text(SETTINGS)
    settings = load(tmp_path / "headrace.toml", {}, {"data": str(tmp_path / "data"), "port": 0, "log_sync": "os"})
    async with await App.start(settings, clock=clock) as started:
        yield started


def client(app: App, key: str, service: str = "kinesis", **options: Any) -> Any:
    return session().client(
        service,
        endpoint_url=app.url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=f"{key.lower()} secret",
        config=Config(retries={"total_max_attempts": 1}),
        **options,
    )


def denied(code: str = "AccessDeniedException", match: str = "is not authorized to perform") -> Any:
    return pytest.raises(ClientError, match=rf"\({code}\).*{match}")


async def test_a_key_may_do_what_its_policies_say_and_no_more(app: App) -> None:
    def use() -> None:
        root, writer, reader = (client(app, key) for key in ("ROOT", "WRITER", "READER"))
        for name in ("orders", "other", "secret"):
            root.create_stream(StreamName=name, ShardCount=1)
        record = {"Data": b"x", "PartitionKey": "k"}
        writer.put_record(StreamName="orders", **record)
        writer.put_records(StreamARN=arn(), Records=[record])
        assert writer.describe_stream(StreamName="orders")["StreamDescription"]["StreamName"] == "orders"
        with pytest.raises(ClientError) as raised:
            writer.put_record(StreamName="other", **record)
        assert raised.value.response["Error"] == {
            "Code": "AccessDeniedException",
            "Message": "User: arn:aws:iam::000000000000:user/writer is not authorized to perform: kinesis:PutRecord on"
            " resource: arn:aws:kinesis:us-east-1:000000000000:stream/other because no identity-based policy allows the"
            " kinesis:PutRecord action",
        }
        place = {"StreamName": "orders", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"}
        iterator = reader.get_shard_iterator(**place)["ShardIterator"]
        assert len(reader.get_records(ShardIterator=iterator)["Records"]) == 2
        assert set(reader.list_streams()["StreamNames"]) == {"orders", "other", "secret"}
        for attempt in (
            lambda: writer.get_shard_iterator(**place),
            lambda: writer.get_records(ShardIterator=iterator),
            lambda: writer.list_streams(),
            lambda: writer.delete_stream(StreamName="orders"),
            lambda: reader.put_record(StreamName="orders", **record),
            lambda: client(app, "NOBODY").describe_limits(),
            lambda: reader.create_stream(StreamName="new", ShardCount=1),
            lambda: client(app, "READER", "firehose").list_delivery_streams(),
            lambda: client(app, "WRITER", "firehose").delete_delivery_stream(DeliveryStreamName="orders"),
            lambda: client(app, "READER", "glue").get_databases(),
        ):
            with denied():
                attempt()
        with denied("ResourceNotFoundException", "orders"):
            client(app, "WRITER", "firehose").put_record(DeliveryStreamName="orders", Record={"Data": b"x"})
        with denied(match="with an explicit deny in an identity-based policy"):
            reader.describe_stream(StreamName="secret")
        with denied("UnrecognizedClientException", "token included in the request is invalid"):
            client(app, "STRANGER").list_streams()

    await asyncio.to_thread(use)


def arn(name: str = "orders", account: str = "000000000000") -> str:
    return f"arn:aws:kinesis:us-east-1:{account}:stream/{name}"


def policy(principal: Any, *actions: str, effect: str = "Allow", **members: Any) -> str:
    statement = {"Effect": effect, "Principal": principal, "Action": actions, "Resource": arn()} | members
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


async def test_a_resource_policy_gives_and_takes(app: App) -> None:
    def use() -> None:
        root, nobody, other = (client(app, key) for key in ("ROOT", "NOBODY", "OTHER"))
        root.create_stream(StreamName="orders", ShardCount=1)
        record = {"StreamARN": arn(), "Data": b"x", "PartitionKey": "k"}
        with denied():
            nobody.put_record(**record)
        with denied(match="no resource-based policy allows"):
            other.put_record(**record)
        for principal, allowed, refused in (
            ({"AWS": "arn:aws:iam::000000000000:user/NOBODY"}, nobody, other),
            ({"AWS": "222222222222"}, other, nobody),
        ):
            root.put_resource_policy(ResourceARN=arn(), Policy=policy(principal, "kinesis:PutRecord", "kinesis:Get*"))
            allowed.put_record(**record)
            place = {"StreamARN": arn(), "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"}
            iterator = allowed.get_shard_iterator(**place)["ShardIterator"]
            assert allowed.get_records(ShardIterator=iterator)["Records"]
            for attempt in (
                lambda one=refused: one.put_record(**record),
                lambda one=refused, text=iterator: one.get_records(ShardIterator=text),
                lambda one=allowed: one.delete_stream(StreamARN=arn()),
            ):
                with denied():
                    attempt()
        # Its own account is another one: names without an ARN are its own streams.
        other.create_stream(StreamName="orders", ShardCount=1)
        assert other.describe_stream(StreamName="orders")["StreamDescription"]["StreamARN"] == arn(
            account="222222222222"
        )
        root.put_resource_policy(ResourceARN=arn(), Policy=policy("*", "kinesis:PutRecord", effect="Deny"))
        with denied(match="with an explicit deny in a resource-based policy"):
            root.put_record(**record)
        root.put_resource_policy(
            ResourceARN=arn(),
            Policy=policy("*", "kinesis:PutRecord", Condition={"IpAddress": {"aws:SourceIp": "127.0.0.1/32"}}),
        )
        nobody.put_record(**record)
        with pytest.raises(ClientError, match=r"InvalidArgumentException.*operator"):
            root.put_resource_policy(
                ResourceARN=arn(), Policy=policy("*", "kinesis:PutRecord", Condition={"DateEquals": {}})
            )
        root.delete_resource_policy(ResourceARN=arn())
        with denied():
            nobody.put_record(**record)

    await asyncio.to_thread(use)


async def test_the_native_door_asks_too(app: App, clock: ManualClock) -> None:
    def native(key: str, *token: str) -> HttpClient:
        return HttpClient(app.url, credentials=(key, f"{key.lower()} secret", *token), clock=clock)  # type: ignore[arg-type]

    root, writer, reader, brief, slow = (
        native(key, *token) for key, *token in (["ROOT"], ["WRITER"], ["READER"], ["BRIEF", "brief token"], ["SLOW"])
    )
    records = Records.of(["k"], [b"x"])
    for stream in ("orders", "secret"):
        await root.create_stream(stream)
    await writer.put("orders", records)
    assert len((await reader.fetch("orders", {"shardId-000000000000": 0})).batches[0]) == 1
    assert await brief.list_streams() == await reader.list_streams() == ["orders", "secret"]
    for attempt in (
        writer.put("secret", records),
        writer.fetch("orders", {"shardId-000000000000": 0}),
        writer.load_checkpoint("orders", "c"),
        writer.list_streams(),
        reader.put("orders", records),
        reader.delete_stream("orders"),
        reader.describe_stream("secret"),
        native("BRIEF").list_streams(),
    ):
        with pytest.raises((AccessDenied, UnrecognizedClient)):
            await attempt
    await asyncio.gather(slow.list_streams(), slow.list_streams())
    with pytest.raises(LimitExceeded, match="2 requests a second"):
        await slow.list_streams()
    for one in (root, writer, reader, brief, slow):
        await one.close()


async def test_temporary_keys_carry_a_token_and_end(app: App, clock: ManualClock) -> None:
    def use() -> None:
        client(app, "BRIEF", aws_session_token="brief token").list_streams()
        for token in ({}, {"aws_session_token": "another"}):
            with denied("UnrecognizedClientException", "invalid"):
                client(app, "BRIEF", **token).list_streams()
        clock.advance(24 * 3600)
        with denied("ExpiredTokenException", "expired"):
            client(app, "BRIEF", aws_session_token="brief token").list_streams()

    await asyncio.to_thread(use)


async def test_a_quota_holds_a_caller_back(app: App, clock: ManualClock) -> None:
    def use() -> None:
        slow = client(app, "SLOW")
        slow.create_stream(StreamName="s", ShardCount=1)
        slow.list_streams()
        with denied("LimitExceededException", "may send 2 requests a second"):
            slow.list_streams()
        clock.advance(1)
        big = {"StreamName": "s", "Data": bytes(900 << 10), "PartitionKey": "k"}
        slow.put_record(**big)
        with denied("ProvisionedThroughputExceededException", "may send 1 MiB a second"):
            slow.put_record(**big)
        clock.advance(2)
        slow.put_record(**big)
        client(app, "ROOT").put_record(**big)

    await asyncio.to_thread(use)


async def test_the_credentials_file_is_read_again(tmp_path: Path, clock: ManualClock, caplog: Any) -> None:
    file = tmp_path / "credentials.toml"
    file.write_text('[credentials]\nROOT = "root secret"\n')
    settings = Settings(data=str(tmp_path / "data"), port=0, log_sync="os", credentials_file=str(file))
    async with await App.start(settings, clock=clock) as app:
        assert "can be read by others" in caplog.text

        def use(key: str) -> Any:
            return client(app, key).list_streams()

        await asyncio.to_thread(use, "ROOT")
        file.write_text('[credentials]\nWRITER = "writer secret"\n')
        file.chmod(0o600)
        app.reload()
        await asyncio.to_thread(use, "WRITER")
        with denied("UnrecognizedClientException", "invalid"):
            await asyncio.to_thread(use, "ROOT")
        file.write_text("[credentials\n")
        app.reload()
        assert "what was in force stays: credentials_file" in caplog.text
        await asyncio.to_thread(use, "WRITER")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[credentials]\nK = { secret = "s", policies = ["none"] }', "K names the policy 'none'"),
        ('[credentials]\nK = { secret = "" }', "credentials"),
        ('[credentials]\nK = { user = "u" }', "secret"),
        ('[credentials]\nK = { secret = "s", role = "u" }', "role"),
        ('[credentials]\nK = { secret = "s", account = "1" }', "account"),
        ('[credentials]\nK = { secret = "s", expires = 2030-01-01T00:00:00Z }', "no token"),
        ('[credentials]\nK = { secret = "s", token = "t", expires = 2030-01-01T00:00:00 }', "without a zone"),
        ('[[policies.p]]\nactions = ["PutRecord"]', "no service"),
        ('[[policies.p]]\nactions = ["kinesis:*"]\nresources = ["orders"]', "no pattern of ARNs"),
        ('[[policies.p]]\nactions = ["kinesis:*"]\neffect = "maybe"', "maybe"),
        ("[policy]", "policy"),
        ("credentials = 1", "credentials"),
    ],
)
async def test_credentials_that_are_wrong_are_told_before_the_start(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "credentials.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=told):
        await App.start(Settings(data=str(tmp_path / "data"), port=0, credentials_file=str(file)))
    (tmp_path / "headrace.toml").write_text(text)

    async def start() -> None:
        await App.start(load(tmp_path / "headrace.toml", {}, {"data": str(tmp_path / "data2"), "port": 0}))

    with pytest.raises(SettingsError, match=told):
        await start()
