"""A function in a process of its own: warm, bounded, and gone when it misbehaves."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from connectors.functions.errors import (
    FunctionError,
    FunctionExited,
    FunctionNotLoaded,
    FunctionRaised,
    FunctionTimedOut,
    FunctionUnknown,
    PayloadTooLarge,
)
from connectors.functions.pool import Functions

MODULE = """
import os, sys, time, json
calls = 0

def pid(event, context):
    global calls
    calls += 1
    return [os.getpid(), calls]

def echo(event, context):
    return event

def context(event, context):
    return [context.function_name, len(context.aws_request_id), 0 < context.get_remaining_time_in_millis() <= 60000]

def say(event, context):
    print("hello", event["name"])
    print("x" * 200_000)
    print("to stderr", file=sys.stderr)

def hang(event, context):
    time.sleep(600)

def tell_all(event, context):
    raise ValueError("x" * 5_000_000)

def leave(event, context):
    sys.exit(7)

def fork(event, context):
    if os.fork() == 0:
        time.sleep(600)
    time.sleep(600)

def large(event, context):
    return "x" * (6 << 20)

def eat(event, context):
    bytearray(64 << 30)

def wrong(event, context):
    return {1, 2}

number = 3
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "module.py"
    path.write_text(MODULE)
    return path


async def call(module: Path, function: str, event: object = None, timeout_s: float = 60.0) -> object:
    functions = Functions({"f": f"{module}:{function}"}, timeout_s=timeout_s)
    try:
        return json.loads(await functions.invoke("f", json.dumps(event).encode()))
    finally:
        await functions.close()


async def test_a_process_stays_warm(module: Path) -> None:
    functions = Functions({"f": f"{module}:pid"}, timeout_s=60)
    answers = [json.loads(await functions.invoke("f", b"{}")) for _ in range(3)]
    await functions.close()
    assert len({pid for pid, _ in answers}) == 1
    assert [calls for _, calls in answers] == [1, 2, 3]


async def test_calls_at_once_run_in_processes_of_their_own(module: Path) -> None:
    functions = Functions({"f": f"{module}:pid"}, timeout_s=60)
    answers = await asyncio.gather(*(functions.invoke("f", b"{}") for _ in range(2)))
    await functions.close()
    assert len({json.loads(answer)[0] for answer in answers}) == 2


async def test_a_function_of_an_importable_module() -> None:
    functions = Functions({"f": "tests.firehose.functions:nothing"}, timeout_s=60)
    assert await functions.invoke("f", b"{}") == b"null"
    await functions.close()


async def test_the_event_and_the_context(module: Path) -> None:
    event = {"text": "é\u2028", "nested": [1, 2.5, None, True]}
    assert await call(module, "echo", event) == event
    assert await call(module, "context") == ["f", 36, True]


async def test_what_it_prints_is_logged(module: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "functions.f"):
        assert await call(module, "say", {"name": "world"}) is None
    printed = "".join(record.getMessage() for record in caplog.records)
    assert "hello world" in printed
    assert printed.count("x") == 200_000


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        ("wrong", FunctionRaised, "TypeError: Object of type set is not JSON serializable"),
        ("eat", FunctionRaised, "raised MemoryError$"),
        ("tell_all", FunctionRaised, "raised ValueError: x{4096}…$"),
        ("leave", FunctionExited, "exit status 7"),
        ("large", PayloadTooLarge, "the limit is 6291456"),
        ("number", FunctionNotLoaded, "is not a function"),
        ("absent", FunctionNotLoaded, "no attribute 'absent'"),
    ],
)
async def test_each_way_to_fail(module: Path, function: str, error: type[FunctionError], words: str) -> None:
    with pytest.raises(error, match=words):
        await call(module, function)


async def test_an_unknown_function_and_a_missing_file(module: Path) -> None:
    functions = Functions({"f": f"{module.parent / 'none.py'}:f"}, timeout_s=60)
    with pytest.raises(FunctionNotLoaded, match=r"none\.py"):
        await functions.invoke("f", b"{}")
    with pytest.raises(FunctionUnknown, match="g is not among"):
        await functions.invoke("g", b"{}")
    await functions.close()


@pytest.mark.parametrize("function", ["hang", "fork"])
async def test_a_function_that_hangs_is_killed_with_its_children(module: Path, function: str) -> None:
    with pytest.raises(FunctionTimedOut, match=r"timed out after 0\.50 seconds"):
        await call(module, function, timeout_s=0.5)


async def test_an_event_over_the_limit_is_refused_and_the_next_works(module: Path) -> None:
    functions = Functions({"f": f"{module}:echo"}, timeout_s=60)
    with pytest.raises(PayloadTooLarge):
        await functions.invoke("f", b'"' + b"x" * (6 << 20) + b'"')
    assert await functions.invoke("f", b"1") == b"1"
    await functions.close()
