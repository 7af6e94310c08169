"""Functions that run elsewhere: behind an HTTP URL, and at another Lambda endpoint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from botocore.config import Config

from connectors.functions.errors import (
    AnswerTooLarge,
    FunctionError,
    FunctionRaised,
    FunctionTimedOut,
    FunctionUnreachable,
    PayloadTooLarge,
    TooManyCalls,
)
from connectors.functions.registry import Functions
from gateway.testing import TestServer
from streams.core.errors import SettingsError
from streams.core.settings import FunctionSettings

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"


async def answer(request: web.Request) -> web.StreamResponse:
    event = await request.json()
    match event:
        case {"status": status}:
            return web.Response(status=status, text="told so", headers={"Location": "/"})
        case {"raise": words}:
            headers = {"X-Amz-Function-Error": "Unhandled"}
            return web.json_response({"errorType": "ValueError", "errorMessage": words}, headers=headers)
        case {"large": size}:
            return web.Response(body=b"x" * size)
        case "hang":
            await asyncio.sleep(2)
        case "break":
            assert request.transport is not None
            request.transport.abort()
    return web.json_response([event, request.headers["Content-Type"], request.path_qs])


@pytest.fixture
async def url() -> AsyncIterator[str]:
    application = web.Application(client_max_size=8 << 20)
    application.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield site.name
    await runner.cleanup()


def functions(**given: FunctionSettings) -> Functions:
    return Functions(given, timeout_s=60)


async def test_a_url_takes_events(url: str) -> None:
    remote = functions(f=FunctionSettings(url=f"{url}/a%2Fb?c=%20d"))
    for name in ("f", f"{ARN}f"):
        assert json.loads(await remote.invoke(name, b'{"n": 1}')) == [{"n": 1}, "application/json", "/a%2Fb?c=%20d"]
    await remote.close()


@pytest.mark.parametrize(
    ("event", "error", "words"),
    [
        ({"status": 500}, FunctionUnreachable, "answered 500: told so"),
        ({"status": 403}, FunctionUnreachable, "answered 403"),
        ({"status": 302}, FunctionUnreachable, "answered 302"),
        ({"status": 429}, TooManyCalls, "answered 429"),
        ({"raise": "no such plane"}, FunctionRaised, "function f: ValueError: no such plane"),
        ({"large": 7 << 20}, AnswerTooLarge, "payload size exceeded"),
        ("hang", FunctionTimedOut, r"Task timed out after 0\.50 seconds"),
        ("break", FunctionUnreachable, "function f at http"),
        ("x" * (6 << 20), PayloadTooLarge, "the limit is 6291456"),
    ],
)
async def test_each_way_to_fail(url: str, event: object, error: type[FunctionError], words: str) -> None:
    remote = functions(f=FunctionSettings(url=url, timeout_s=0.5))
    with pytest.raises(error, match=words):
        await remote.invoke("f", json.dumps(event).encode())
    await remote.close()


async def test_nobody_listens(unused_tcp_port: int) -> None:
    remote = functions(f=FunctionSettings(url=f"http://127.0.0.1:{unused_tcp_port}"))
    with pytest.raises(FunctionUnreachable, match="Cannot connect"):
        await remote.invoke("f", b"1")
    await remote.close()


def test_another_lambda_endpoint_with_signatures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One server calls the functions of another one, for Lambda's own API as well."""
    (tmp_path / "module.py").write_text(
        "def handler(event, context):\n"
        "    if event == 'raise': raise ValueError('told there')\n"
        "    print('said there')\n"
        "    return [event, context.client_context and context.client_context.custom]\n"
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    there_is = {"g": FunctionSettings(directory=str(tmp_path), handler="module.handler")}
    with TestServer(functions=there_is, credentials={"key": "secret"}) as there:
        here_is = {
            "f": FunctionSettings(arn=f"{ARN}g", endpoint=there.url),
            "absent": FunctionSettings(arn=f"{ARN}absent", endpoint=there.url),
        }
        with TestServer(functions=here_is) as here:
            aws = here.client("lambda", config=Config(retries={"max_attempts": 0}))
            context = "eyJjdXN0b20iOiB7ImEiOiAxfX0="
            reply = aws.invoke(FunctionName="f", Payload=b'"event"', LogType="Tail", ClientContext=context)
            assert json.loads(reply["Payload"].read()) == ["event", {"a": 1}]
            assert reply["LogResult"]
            reply = aws.invoke(FunctionName="f", Payload=b'"raise"')
            assert reply["FunctionError"] == "Unhandled"
            assert json.loads(reply["Payload"].read())["errorMessage"] == "told there"
            with pytest.raises(aws.exceptions.ServiceException, match=r"answered 404: .*Function not found"):
                aws.invoke(FunctionName="absent")
            names = [one["FunctionName"] for one in aws.list_functions()["Functions"]]
            assert names == ["absent", "f"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (FunctionSettings(), "exactly one of directory, zip, url, arn, sql, jq and steps"),
        (
            FunctionSettings(directory="/", url="http://a", handler="a.b"),
            "exactly one of directory, zip, url, arn, sql, jq and steps",
        ),
        (FunctionSettings(directory="/"), "handler is missing"),
    ],
)
def test_settings_that_say_too_little_or_too_much(given: FunctionSettings, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        functions(f=given)
