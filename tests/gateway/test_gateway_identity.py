"""GetCallerIdentity, asked by boto3: who one is, with signatures checked and without, and errors in STS's words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from gateway.app import App
from streams.core.settings import Credential, Settings
from tests.aws import session

CREDENTIALS = {
    "ROOT": "root secret",
    "SHIP": Credential(secret="ship secret", account="222222222222", user="a<b", policies=()),
    "OLD": Credential(secret="old secret", token="t", expires=None),
}


@pytest.fixture
async def app(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[App]:
    credentials = getattr(request, "param", CREDENTIALS)
    settings = Settings(data=str(tmp_path), port=0, log_sync="os", credentials=credentials)
    async with await App.start(settings) as started:
        yield started


async def ask(app: App, key: str, secret: str, operation: str = "get_caller_identity", **given: Any) -> Any:
    config = Config(retries={"total_max_attempts": 1})
    client = session().client(
        "sts",
        endpoint_url=app.url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=config,
    )
    try:
        answer = await asyncio.to_thread(getattr(client, operation), **given)
    finally:
        client.close()
    assert answer["ResponseMetadata"].pop("RequestId") == answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


@pytest.mark.parametrize("app", [{}], indirect=True)
async def test_where_nobody_is_asked_everybody_is_the_account(app: App) -> None:
    told = {"UserId": "000000000000", "Account": "000000000000", "Arn": "arn:aws:iam::000000000000:root"}
    assert await ask(app, "any", "any") == told


async def test_a_key_is_told_whose_it_is_whatever_it_may_do(app: App) -> None:
    told = {"UserId": "ROOT", "Account": "000000000000", "Arn": "arn:aws:iam::000000000000:user/ROOT"}
    assert await ask(app, "ROOT", "root secret") == told
    told = {"UserId": "SHIP", "Account": "222222222222", "Arn": "arn:aws:iam::222222222222:user/a<b"}
    assert await ask(app, "SHIP", "ship secret") == told


@pytest.mark.parametrize(
    ("key", "secret", "code", "status"),
    [
        ("WHO", "x", "InvalidClientTokenId", 403),
        ("ROOT", "x", "SignatureDoesNotMatch", 403),
        ("OLD", "old secret", "InvalidClientTokenId", 403),
    ],
)
async def test_a_key_that_is_not_right(app: App, key: str, secret: str, code: str, status: int) -> None:
    with pytest.raises(ClientError) as told:
        await ask(app, key, secret)
    assert told.value.response["Error"]["Code"] == code
    assert told.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


async def test_nothing_else_of_sts_is_there(app: App) -> None:
    with pytest.raises(ClientError, match=r"\(InvalidAction\).* find operation GetSessionToken for version 2011-06-15"):
        await ask(app, "ROOT", "root secret", "get_session_token")


async def test_without_a_signature(app: App) -> None:
    host, port = app.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    form = b"Action=GetCallerIdentity&Version=2011-06-15"
    head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    writer.write(f"{head}Content-Length: {len(form)}\r\nConnection: close\r\n\r\n".encode() + form)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"<Code>MissingAuthenticationToken</Code>" in answer
