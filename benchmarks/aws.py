"""Setting a stage: a few control calls, and filling a stream, over the same raw protocol for every server."""

from __future__ import annotations

import base64
import random
import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from benchmarks.connection import Connection, request

STREAM = "bench"
FAILED_COUNT = re.compile(rb'"FailedRecordCount"\s*:\s*(\d+)')
_ACTIVE_TIMEOUT_S = 20.0


class CallError(Exception):
    """A server answered an error: its status and words."""


async def call(host: str, port: int, operation: str, payload: dict[str, Any]) -> Any:
    """One call on a connection of its own. Raises `CallError`."""
    answer = await Connection(host, port).ask(request(host, port, operation, msgspec.json.encode(payload)))
    if answer.status != 200:
        raise CallError(f"{operation}: {answer.status} {answer.body[:300].decode(errors='replace')}")
    return msgspec.json.decode(answer.body) if answer.body else None


async def create_stream(
    host: str, port: int, shards: int, stream: str = STREAM, tags: Mapping[str, str] | None = None
) -> None:
    """Returns when the stream is ACTIVE."""
    await call(
        host,
        port,
        "CreateStream",
        {"StreamName": stream, "ShardCount": shards} | ({"Tags": dict(tags)} if tags else {}),
    )
    deadline = time.monotonic() + _ACTIVE_TIMEOUT_S
    while time.monotonic() < deadline:
        reply = await call(host, port, "DescribeStream", {"StreamName": stream})
        if reply["StreamDescription"]["StreamStatus"] == "ACTIVE":
            return
    raise CallError(f"stream {stream} did not become ACTIVE in {_ACTIVE_TIMEOUT_S:.0f} s")


def put_records_body(count: int, size: int, seed: int, stream: str = STREAM) -> bytes:
    """A PutRecords body of `count` records of `size` random bytes under random keys."""
    source = random.Random(seed)
    records = [
        {"Data": base64.b64encode(source.randbytes(size)).decode(), "PartitionKey": f"{source.getrandbits(48):012x}"}
        for _ in range(count)
    ]
    return msgspec.json.encode({"StreamName": stream, "Records": records})


def put_record_body(size: int, seed: int, stream: str = STREAM) -> bytes:
    source = random.Random(seed)
    data = base64.b64encode(source.randbytes(size)).decode()
    return msgspec.json.encode({"StreamName": stream, "Data": data, "PartitionKey": f"{source.getrandbits(48):012x}"})


async def fill(host: str, port: int, count: int, size: int) -> None:
    """Puts `count` records of `size` bytes, a multiple of 500. Raises `CallError` where one of them fails."""
    connection = Connection(host, port)
    for seed in range(count // 500):
        answer = await connection.ask(request(host, port, "PutRecords", put_records_body(500, size, seed)))
        if answer.status != 200 or FAILED_COUNT.findall(answer.body) != [b"0"]:
            raise CallError(f"PutRecords: {answer.status} {answer.body[:300].decode(errors='replace')}")
