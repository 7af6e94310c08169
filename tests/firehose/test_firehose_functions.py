"""Functions that fail in every way that there is: each record ends in exactly one place."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from connectors.functions.errors import FunctionUnreachable
from firehose.processors import FunctionCall
from firehose.transform import Transform, Transformed
from streams.core.records import Records
from streams.core.settings import FunctionSettings
from streams.core.shards import HASH_KEY_MAX, HashRange, Shard, shard_id
from tests.firehose.harness import NEWLINES, House, function, processing
from tests.firehose.test_firehose_transform import failed, good

RECORDS = 4
SHARD = Shard(shard_id(0), 0, "log", HashRange(0, HASH_KEY_MAX), 1_700_000_000_000)

CODE = """
import base64, os, time

def answer(event):
    return {"records": [{"recordId": r["recordId"], "result": "Ok", "data": r["data"]} for r in event["records"]]}

def eating(event, context):
    eaten = []
    while True:
        eaten.append(b"x" * (1 << 20))

def poisoned(event, context):
    if any(base64.b64decode(r["data"]) == b"poison" for r in event["records"]):
        os.kill(os.getpid(), 11)
    return answer(event)

def filling(event, context):
    with open(os.path.join(os.environ["TMPDIR"], "file"), "wb") as file:
        while True:
            file.write(b"x" * (1 << 20))

def slow_once(event, context):
    mark = os.environ["MARK"]
    if not os.path.exists(mark):
        open(mark, "w").close()
        time.sleep(600)
    return answer(event)
"""


async def delivered(folder: Path, settings: FunctionSettings, data: list[bytes], **parameters: Any) -> dict[str, bytes]:
    async with House(folder, functions={"f": settings}) as home:
        await home.create(size=5, **processing(function("f", **parameters), NEWLINES))
        await home.put("firehose/flights", data)
        await home.until(home.delivered, step_s=10)
        return home.objects()


def local(folder: Path, handler: str, **limits: Any) -> FunctionSettings:
    code = folder / "code"
    code.mkdir()
    (code / "module.py").write_text(CODE)
    return FunctionSettings(directory=str(code), handler=f"module.{handler}", **limits)


@pytest.mark.parametrize(
    ("handler", "limits", "words"),
    [
        ("eating", {"memory_mb": 128}, "Runtime.ExitError: RequestId: "),
        ("filling", {"scratch_mb": 32}, "MB of scratch space are more than its 32 MB"),
        ("poisoned", {}, "Runtime exited with error: signal: segmentation fault"),
    ],
)
async def test_what_the_process_does_not_survive(
    tmp_path: Path, handler: str, limits: dict[str, Any], words: str
) -> None:
    objects = await delivered(tmp_path, local(tmp_path, handler, **limits), [b"1", b"poison"], NumberOfRetries=1)
    lines = failed(objects)
    assert [base64.b64decode(line["rawData"]) for line in lines] == [b"1", b"poison"]
    assert {line["errorCode"] for line in lines} == {"Lambda.FunctionError"}
    assert {line["attemptsMade"] for line in lines} == {2}
    assert words in lines[0]["errorMessage"]


async def test_a_call_that_hangs_once_is_made_again(tmp_path: Path) -> None:
    settings = local(tmp_path, "slow_once", timeout_s=1, environment={"MARK": str(tmp_path / "mark")})
    objects = await delivered(tmp_path, settings, [b"1", b"2"])
    assert good(objects) == [b"1", b"2"]
    assert not failed(objects)


Answer = Callable[[dict[str, Any]], Any]


@pytest.fixture
async def remote() -> AsyncIterator[tuple[str, list[dict[str, Any]], list[Answer]]]:
    """A URL, the events that it was sent, and what it does next: the last one for ever."""
    events: list[dict[str, Any]] = []
    answers: list[Answer] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        event = await request.json()
        events.append(event)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        told = answer(event)
        return told if isinstance(told, web.Response) else web.json_response(told)

    application = web.Application(client_max_size=8 << 20)
    application.router.add_post("/", handle)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield site.name, events, answers
    await runner.cleanup()


def unchanged(event: dict[str, Any]) -> Any:
    return {"records": [{"recordId": r["recordId"], "result": "Ok", "data": r["data"]} for r in event["records"]]}


def status(code: int) -> Answer:
    return lambda _event: web.Response(status=code, text="not now")


async def test_each_attempt_is_a_new_invocation_of_the_same_records(
    tmp_path: Path, remote: tuple[str, list[dict[str, Any]], list[Answer]]
) -> None:
    url, events, answers = remote
    answers += [status(500), status(429), lambda _event: [], unchanged]
    objects = await delivered(tmp_path, FunctionSettings(url=url), [b"1", b"2"])
    assert good(objects) == [b"1", b"2"]
    assert len({event["invocationId"] for event in events}) == 4
    assert len({json.dumps(event["records"]) for event in events}) == 1


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (status(500), "Lambda.FunctionError", "answered 500: not now"),
        (status(429), "Lambda.InvokeLimitExceeded", "answered 429: not now"),
        (lambda _event: web.Response(text="no JSON"), "Lambda.FunctionError", "output is in required format"),
        (lambda _event: web.Response(body=b"\xff"), "Lambda.FunctionError", "output is in required format"),
        (lambda _event: web.Response(body=b"[" * 100_000), "Lambda.FunctionError", "output is in required format"),
    ],
)
async def test_what_a_server_answers(
    tmp_path: Path, remote: tuple[str, list[dict[str, Any]], list[Answer]], answer: Answer, code: str, words: str
) -> None:
    url, events, answers = remote
    answers.append(answer)
    lines = failed(await delivered(tmp_path, FunctionSettings(url=url), [b"1"], NumberOfRetries=2))
    assert [(line["errorCode"], line["attemptsMade"]) for line in lines] == [(code, 3)]
    assert words in lines[0]["errorMessage"]
    assert len(events) == 3


async def test_a_server_that_is_not_there(tmp_path: Path, unused_tcp_port: int) -> None:
    settings = FunctionSettings(url=f"http://127.0.0.1:{unused_tcp_port}")
    (line,) = failed(await delivered(tmp_path, settings, [b"1"], NumberOfRetries=0))
    assert line["errorCode"] == "Lambda.FunctionError"
    assert "Cannot connect" in line["errorMessage"]


ODD: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ANSWERED = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, RECORDS + 1),
        "result": st.sampled_from(["Ok", "Ok", "Ok", "Dropped", "ProcessingFailed", "ok", ""]) | ODD,
        "data": st.binary(max_size=8).map(lambda data: base64.b64encode(data).decode()) | ODD,
        "metadata": st.just({"partitionKeys": {"a": "b"}}) | ODD,
        "more": ODD,
    },
)
USUAL = st.fixed_dictionaries(
    {"index": st.integers(0, RECORDS - 1), "result": st.sampled_from(["Ok", "Dropped", "ProcessingFailed"])},
).map(lambda answered: {**answered, "data": "eA=="})
ANSWERS = (
    st.lists(USUAL, max_size=RECORDS + 2).map(lambda records: {"records": records})
    | st.lists(USUAL | ANSWERED | ODD, max_size=RECORDS + 2).map(lambda records: {"records": records})
    | ODD
)


@given(ANSWERS)
def test_whatever_a_function_answers_every_record_ends_in_one_place(answer: Any) -> None:
    calls = 0

    async def invoke(_arn: str, event: bytes) -> bytes:
        nonlocal calls
        calls += 1
        ids = [record["recordId"] for record in json.loads(event)["records"]] + ["unknown", 7]
        if isinstance(answer, dict) and isinstance(answer.get("records"), list):
            named = [
                {**one, "recordId": ids[one["index"]]}
                if isinstance(one, dict) and isinstance(one.get("index"), int)
                else one
                for one in answer["records"]
            ]
            return json.dumps({**answer, "records": named}).encode()
        return json.dumps(answer).encode()

    done = asyncio.run(_run(invoke, retries=1))
    places = [*done.index, *done.dropped, *(fault.index for fault in done.faults)]
    assert sorted(places) == list(range(RECORDS))
    assert len(done.data) == len(done.index) == len(done.keys)
    assert calls <= 2


async def test_a_function_that_cannot_be_reached_fails_all_records() -> None:
    async def invoke(_arn: str, _event: bytes) -> bytes:
        raise FunctionUnreachable("away")

    done = await _run(invoke, retries=3)
    assert [(fault.index, fault.attempts) for fault in done.faults] == [(index, 4) for index in range(RECORDS)]


async def _run(invoke: Any, *, retries: int) -> Transformed:
    call = FunctionCall("arn:aws:lambda:us-east-1:000000000000:function:f", "f", retries, 1 << 20)
    transform = Transform(invoke, call, stream_arn="arn", region="us-east-1", source_arn=None)
    records = Records.of([f"k{n}" for n in range(RECORDS)], [b"%d" % n for n in range(RECORDS)]).with_arrival(1)
    return await transform.run(SHARD, np.arange(RECORDS), None, records, 0)
