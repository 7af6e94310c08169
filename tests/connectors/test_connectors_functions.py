"""A function in a process of its own: warm, bounded, and gone when it misbehaves."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import resource
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.functions.errors import (
    AnswerTooLarge,
    FunctionError,
    FunctionExited,
    FunctionFault,
    FunctionNotLoaded,
    FunctionRaised,
    FunctionTimedOut,
    FunctionUnknown,
    FunctionUnreachable,
    PayloadTooLarge,
    TooManyCalls,
)
from connectors.functions.function import Function, referenced
from connectors.functions.output import FILE_SIZE_MAX, LogFile
from connectors.functions.pool import FunctionPool
from connectors.functions.registry import Functions
from streams.core.errors import SettingsError
from streams.core.settings import FunctionSettings, Settings

MODULE = """
import os, subprocess, sys, time, json, tempfile
calls = 0

def pid(event, context):
    global calls
    calls += 1
    return [os.getpid(), calls]

def echo(event, context):
    return event

def context(event, context):
    return [context.function_name, len(context.aws_request_id), 0 < context.get_remaining_time_in_millis() <= 60000,
            context.memory_limit_in_mb, context.invoked_function_arn, context.function_version,
            context.log_group_name, sorted(set(os.environ) & {"SECRET", "GIVEN", "_HANDLER"})]

def say(event, context):
    print("hello", event["name"])
    print("x" * 200_000)
    print("to stderr", file=sys.stderr)
    sys.stdout.write("no end of line")

def hang(event, context):
    time.sleep(600)

def tell_all(event, context):
    raise ValueError("x" * 5_000_000)

def leave(event, context):
    sys.exit(event or 0)

def die(event, context):
    os.kill(os.getpid(), event)

def fork(event, context):
    if os.fork() == 0:
        time.sleep(600)
    time.sleep(600)

def large(event, context):
    return "x" * (7 << 20)

def ask(event, context):
    bytearray(64 << 30)

def eat(event, context):
    eaten = []
    while True:
        eaten.append(b"x" * (1 << 20))
        time.sleep(0.001)

def eat_in_a_child(event, context):
    code = "import time; x = b'x' * (300 << 20); time.sleep(600)"
    subprocess.run([sys.executable, "-c", code])

def fill(event, context):
    with tempfile.NamedTemporaryFile() as file:
        while True:
            file.write(b"x" * (1 << 20))
            file.flush()
            time.sleep(0.001)

def keep(event, context):
    path = os.path.join(tempfile.gettempdir(), "kept")
    with open(path, "a") as file:
        file.write("x")
    return [path, os.path.getsize(path)]

def wrong(event, context):
    return {1, 2}

number = 3
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "module.py"
    path.write_text(MODULE)
    return path


def pool(module: Path, handler: str, **limits: object) -> FunctionPool:
    function = Function(name="f", root=module.parent, handler=f"module.{handler}", timeout_s=60, memory_mb=4096)
    return FunctionPool(replace(function, **limits), scratch=module.parent / "scratch")


async def call(module: Path, handler: str, event: object = None, **limits: object) -> object:
    functions = pool(module, handler, **limits)
    try:
        return json.loads(await functions.invoke(json.dumps(event).encode()))
    finally:
        await functions.close()


async def failing(module: Path, handler: str, event: object = None, **limits: object) -> FunctionFault:
    with pytest.raises(FunctionFault) as raised:
        await call(module, handler, event, **limits)
    assert not list(module.parent.joinpath("scratch").iterdir()), "scratch space is left"
    return raised.value


async def until(condition: Callable[[], bool]) -> None:
    """What another process does can only be looked for."""
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


async def test_a_process_stays_warm(module: Path) -> None:
    functions = pool(module, "pid")
    answers = [json.loads(await functions.invoke(b"{}")) for _ in range(3)]
    await functions.close()
    assert len({pid for pid, _ in answers}) == 1
    assert [calls for _, calls in answers] == [1, 2, 3]


async def test_calls_at_once_run_in_processes_of_their_own(module: Path) -> None:
    functions = pool(module, "pid")
    answers = await asyncio.gather(*(functions.invoke(b"{}") for _ in range(2)))
    await functions.close()
    assert len({json.loads(answer)[0] for answer in answers}) == 2


async def test_the_event_and_the_context(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of the server")
    event = {"text": "é\u2028", "nested": [1, 2.5, None, True]}
    assert await call(module, "echo", event) == event
    arn = "arn:aws:lambda:us-east-1:000000000000:function:f"
    seen = ["f", 36, True, "256", arn, "$LATEST", "/aws/lambda/f", ["GIVEN", "_HANDLER"]]
    assert await call(module, "context", arn=arn, memory_mb=256, environment={"GIVEN": "1"}) == seen


async def test_what_it_prints_is_logged_and_kept(module: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = LogFile(module.parent / "logs" / "f.log")
    functions = FunctionPool(
        referenced("f", f"{module}:say", timeout_s=60), scratch=module.parent / "scratch", file=file
    )
    with caplog.at_level(logging.DEBUG, "functions.f"):
        outcome = await functions.call(b'{"name": "world"}', request_id="the-id")
        tail = (await functions.call(b'{"name": "world"}', request_id="second")).log.decode()
    await functions.close()
    file.close()
    assert outcome.answer == b"null"
    printed = "".join(record.getMessage() for record in caplog.records if record.levelno == logging.INFO)
    assert "hello world" in printed
    assert printed.count("x") == 400_000
    lines = [line.split(" ", 1)[1] for line in (module.parent / "logs" / "f.log").read_text().splitlines()]
    assert lines[0] == "START RequestId: the-id Version: $LATEST"
    assert lines[1] == "hello world"
    end = lines.index("END RequestId: the-id")
    assert lines[end - 2 : end] == ["to stderr", "no end of line"]
    report = r"REPORT RequestId: the-id\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 4096 MB\t"
    assert re.fullmatch(report + r"Max Memory Used: \d+ MB\tInit Duration: [\d.]+ ms", lines[end + 1])
    assert len(tail) == 4096
    assert re.search(r"x\nto stderr\nno end of line\nEND RequestId: second\nREPORT [^\n]*Used: \d+ MB\n$", tail)


async def test_a_log_file_begins_anew_when_it_is_large(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "f.log")
    for _ in range(3):
        file.write(b"x" * FILE_SIZE_MAX + b"\n")
    file.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.log", "f.log.1"]


@pytest.mark.parametrize(
    ("handler", "event", "error", "kind", "words"),
    [
        ("wrong", None, FunctionRaised, "Runtime.MarshalError", "Object of type set is not JSON serializable"),
        ("ask", None, FunctionRaised, "MemoryError", ""),
        ("tell_all", None, FunctionRaised, "ValueError", "x" * 5_000_000),
        ("number", None, FunctionRaised, "TypeError", "'int' object is not callable"),
        ("leave", 7, FunctionExited, "Runtime.ExitError", "Runtime exited with error: exit status 7"),
        ("leave", 0, FunctionExited, "Runtime.ExitError", "Runtime exited without providing a reason"),
        ("die", 9, FunctionExited, "Runtime.ExitError", "Runtime exited with error: signal: killed"),
        ("die", 11, FunctionExited, "Runtime.ExitError", "Runtime exited with error: signal: segmentation fault"),
        ("large", None, AnswerTooLarge, "Function.ResponseSizeTooLarge", "allowed payload size (6291556 bytes)."),
        ("absent", None, FunctionNotLoaded, "Runtime.HandlerNotFound", "Handler 'absent' missing on module 'module'"),
    ],
)
async def test_each_way_to_fail(
    module: Path, handler: str, event: object, error: type[FunctionFault], kind: str, words: str
) -> None:
    fault = await failing(module, handler, event)
    assert type(fault) is error
    told = json.loads(fault.payload)
    assert told["errorType"] == kind
    assert words in told["errorMessage"]
    assert len(fault.message) < 4200


async def test_what_was_raised_is_told_with_its_stack_and_the_request(module: Path) -> None:
    functions = pool(module, "tell_all")
    outcome = await functions.call(b"{}", request_id="the-id")
    await functions.close()
    assert isinstance(outcome.fault, FunctionRaised)
    told = json.loads(outcome.fault.payload)
    assert told["requestId"] == "the-id"
    assert 'raise ValueError("x" * 5_000_000)' in told["stackTrace"][0]
    assert outcome.log.endswith(b" MB\tInit Duration: " + outcome.log.rpartition(b"Init Duration: ")[2])


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("import nothing_of_this_name", "Runtime.ImportModuleError", "No module named 'nothing_of_this_name'"),
        ("def f(:", "Runtime.UserCodeSyntaxError", "Syntax error in module 'module'"),
        ("raise ValueError('at once')", "ValueError", "at once"),
        ("import sys; sys.exit(3)", "Runtime.ExitError", "exit status 3"),
    ],
)
async def test_each_way_not_to_start(tmp_path: Path, code: str, kind: str, words: str) -> None:
    module = tmp_path / "module.py"
    module.write_text(code)
    told = json.loads((await failing(module, "f")).payload)
    assert told["errorType"] == kind
    assert words in told["errorMessage"]


async def test_a_handler_without_a_dot_and_a_folder_that_is_not_there(module: Path) -> None:
    function = Function(name="f", root=module.parent, handler="echo")
    functions = FunctionPool(function, scratch=module.parent / "scratch")
    with pytest.raises(FunctionNotLoaded, match=r"Runtime.MalformedHandlerName: Bad handler 'echo'"):
        await functions.invoke(b"{}")
    await functions.close()
    assert b"Runtime.InvalidEntrypoint" in (await failing(module, "echo", root=module.parent / "none")).payload
    assert b"Runtime.InvalidEntrypoint" in (await failing(module, "echo", environment={"a": "\0"})).payload


@pytest.mark.parametrize("handler", ["hang", "fork"])
async def test_a_function_that_hangs_is_killed_with_its_children(module: Path, handler: str) -> None:
    fault = await failing(module, handler, timeout_s=0.5)
    assert isinstance(fault, FunctionTimedOut)
    text = json.loads(fault.payload)["errorMessage"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]+\.\d{3}Z [0-9a-f-]{36} Task timed out after 0\.50 seconds", text)


async def test_an_import_that_hangs_is_begun_again_within_the_first_call(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("import time, os\nopen('began', 'a').write('x')\ntime.sleep(600)\ndef f(event, context): pass\n")
    function = Function(name="f", root=tmp_path, handler="module.f", timeout_s=1)
    functions = FunctionPool(function, scratch=tmp_path / "scratch", init_timeout_s=1)
    outcome = await functions.call(b"{}")
    await functions.close()
    assert isinstance(outcome.fault, FunctionTimedOut)
    assert (tmp_path / "began").read_text() == "xx"


@pytest.mark.parametrize("handler", ["eat", "eat_in_a_child"])
async def test_a_function_that_uses_too_much_memory_is_killed(
    module: Path, handler: str, caplog: pytest.LogCaptureFixture
) -> None:
    fault = await failing(module, handler, memory_mb=256)
    assert isinstance(fault, FunctionExited)
    assert "Runtime exited with error: signal: killed" in fault.message
    assert re.search(r"function f is killed: \d+ MB of memory are more than its 256 MB", caplog.text)


async def test_scratch_space_is_bounded_and_survives_warm_calls(module: Path) -> None:
    fault = await failing(module, "fill", scratch_mb=32)
    assert "MB of scratch space are more than its 32 MB" in fault.message
    functions = pool(module, "keep")
    first, second = [json.loads(await functions.invoke(b"{}")) for _ in range(2)]
    await functions.close()
    assert first[0] == second[0]
    assert (first[1], second[1]) == (1, 2)
    assert not Path(first[0]).exists()


async def test_a_machine_without_descriptors_is_told_and_recovers(module: Path) -> None:
    functions = pool(module, "echo")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/proc/self/fd")))
    for more in range(1, 12):
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + more, hard))
        try:
            outcome = await functions.call(b"1")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert outcome.fault is None or isinstance(outcome.fault, FunctionUnreachable | FunctionNotLoaded), more
        if outcome.fault is None:
            break
    assert await functions.invoke(b"2") == b"2"
    await functions.close()


async def test_after_a_crash_the_next_call_has_a_new_environment(module: Path) -> None:
    functions = pool(module, "leave")
    for _ in range(2):
        with pytest.raises(FunctionExited):
            await functions.invoke(b"1")
    await functions.close()


async def test_an_idle_environment_that_died_is_replaced(module: Path) -> None:
    functions = pool(module, "pid")
    first = json.loads(await functions.invoke(b"{}"))[0]
    os.kill(first, 9)
    (idle,) = functions._idle
    await until(lambda: idle.dead)
    assert json.loads(await functions.invoke(b"{}"))[1] == 1
    await functions.close()


async def test_a_caller_who_goes_away_ends_the_call(module: Path) -> None:
    functions = pool(module, "hang")
    caller = asyncio.create_task(functions.invoke(b"{}"))
    scratch = module.parent / "scratch"
    await until(lambda: scratch.exists() and bool(list(scratch.iterdir())))
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await functions.close()
    assert not list(scratch.iterdir())


async def test_an_event_over_the_limit_is_refused_and_the_next_works(module: Path) -> None:
    functions = pool(module, "echo")
    with pytest.raises(PayloadTooLarge, match="6291458 bytes, the limit is 6291456"):
        await functions.invoke(b'"' + b"x" * (6 << 20) + b'"')
    assert await functions.invoke(b"1") == b"1"
    await functions.close()


async def test_more_calls_than_may_wait_are_refused(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.functions.pool.WAITING_MAX", 1)
    function = Function(name="f", root=module.parent, handler="module.echo", timeout_s=60)
    functions = FunctionPool(function, scratch=module.parent / "scratch", environments_max=1)
    results = await asyncio.gather(*(functions.invoke(b"1") for _ in range(3)), return_exceptions=True)
    await functions.close()
    assert [type(result) for result in results] == [bytes, bytes, TooManyCalls]


async def test_a_runtime_in_another_language(tmp_path: Path) -> None:
    """A `bootstrap` that speaks the Runtime API by hand, in chunks."""
    bootstrap = tmp_path / "bootstrap"
    bootstrap.write_text(
        f"#!{sys.executable}\n"
        "import http.client, os\n"
        "server = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])\n"
        "path = '/2018-06-01/runtime/invocation/'\n"
        "while True:\n"
        "    server.request('GET', path + 'next')\n"
        "    event = server.getresponse()\n"
        "    id, body = event.headers['Lambda-Runtime-Aws-Request-Id'], event.read()\n"
        "    server.request('POST', path + 'nobody/response', b'')\n"
        "    assert (r := server.getresponse()).status == 400 and r.read()\n"
        "    server.request('GET', '/2018-06-01/extensions')\n"
        "    assert (r := server.getresponse()).status == 404 and r.read()\n"
        "    server.request('POST', path + id + '/response', iter([b'[', body, b']']), encode_chunked=True,\n"
        "                   headers={'Transfer-Encoding': 'chunked'})\n"
        "    assert (r := server.getresponse()).status == 202 and r.read()\n"
    )
    bootstrap.chmod(bootstrap.stat().st_mode | stat.S_IXUSR)
    function = Function(name="f", root=tmp_path, handler="any", runtime="provided.al2023", timeout_s=60)
    functions = FunctionPool(function, scratch=tmp_path / "scratch")
    assert [await functions.invoke(event) for event in (b"1", b"2")] == [b"[1]", b"[2]"]
    await functions.close()


async def test_functions_of_the_settings_by_name_and_arn(module: Path, tmp_path: Path) -> None:
    settings = Settings(
        data=str(tmp_path / "data"),
        functions={
            "file": f"{module}:echo",
            "module": "tests.firehose.functions:nothing",
            "folder": FunctionSettings(directory=str(module.parent), handler="module.echo"),
        },
    )
    functions = Functions.of(settings)
    arn = "arn:aws:lambda:us-east-1:000000000000:function:"
    assert await functions.invoke("file", b"1") == b"1"
    assert await functions.invoke(f"{arn}module", b"1") == b"null"
    assert await functions.invoke(f"{arn}folder:$LATEST", b"2") == b"2"
    for unknown in ("g", f"{arn}g", f"{arn}folder:1"):
        with pytest.raises(FunctionUnknown, match="Function not found"):
            await functions.invoke(unknown, b"1")
    await functions.close()
    assert (tmp_path / "data" / "functions" / "logs" / "file.log").exists()


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    functions = Functions.of(Settings(data=str(tmp_path), functions={"f": f"{tmp_path / 'none.py'}:f"}))
    with pytest.raises(FunctionError, match="No module named 'none'"):
        await functions.invoke("f", b"{}")
    await functions.close()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (FunctionSettings(directory="/nowhere", handler="a.b"), "the directory /nowhere does not exist"),
        (FunctionSettings(zip="/nowhere.zip", handler="a.b"), "/nowhere.zip cannot be used"),
        (FunctionSettings(zip=__file__, handler="a.b"), "Could not unzip"),
    ],
)
def test_settings_that_name_nothing(tmp_path: Path, given: FunctionSettings, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Functions.of(Settings(data=str(tmp_path), functions={"f": given}))


@pytest.mark.parametrize("name", ["a/b", "", "a.b", "a" * 65])
def test_names_that_no_arn_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="a name has letters, digits, - and _"):
        Functions.of(Settings(data=str(tmp_path), functions={name: "a:b"}))
