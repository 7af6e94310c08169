"""The port of the real server against whatever comes: requests that are nearly right, frames that are not, floods, pieces,
half-closed and slow connections. It answers what it can with errors of its model, keeps nothing, and stays up."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
from pathlib import Path

import cbor2
import psutil
import pytest

from streams.wire.model import load
from tests.system.process import ServerProcess

SENDERS = 16
MEMORY_GROWTH_MAX = 150 << 20
"""Bytes that the process may keep more after the storm than after its first minute's worth: caches fill up."""

STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
NUMBERS = ["0", "-1", "1e400", "99999999999999999999999", "NaN", "1.5", "true", "null"]
OPERATIONS = sorted(load("kinesis").operations)
FIREHOSE = sorted(load("firehose").operations)
NAMES = ["s", "absent", "a/b", "", "é", "x" * 5000, "\0", "%00"]


def value(dice: random.Random, depth: int = 0) -> object:
    """Anything that JSON and CBOR can say, some of it deep."""
    kind = dice.randrange(9 if depth < 4 else 6)
    match kind:
        case 0:
            return dice.choice(NAMES)
        case 1:
            return dice.choice([0, -1, 1 << 31, 1 << 63, 10**30, 1.5, float("1e300")])
        case 2:
            return dice.choice([True, False, None])
        case 3:
            return "arn:aws:kinesis:us-east-1:000000000000:stream/" + dice.choice(NAMES)
        case 4:
            return "x" * dice.randrange(2000)
        case 5:
            return []
        case 6:
            return [value(dice, depth + 1) for _ in range(dice.randrange(4))]
        case 7:
            return {str(number): value(dice, depth + 1) for number in range(dice.randrange(4))}
        case _:
            deep: object = "x"
            for _ in range(dice.choice([10, 200, 3000])):
                deep = [deep] if dice.random() < 0.5 else {"a": deep}
            return deep


def members(dice: random.Random, operation: str) -> dict[str, object]:
    """Members of the operation's own, with values that may be anything."""
    service = "firehose" if operation in FIREHOSE else "kinesis"
    shape = load(service).operations[operation].input
    names = list(shape.members) if shape is not None else []
    chosen = [name for name in names if dice.random() < 0.6]
    asked = {name: value(dice) for name in chosen}
    if "StreamName" in names and dice.random() < 0.5:
        asked["StreamName"] = "s"
    return asked


def body(dice: random.Random, operation: str) -> tuple[bytes, str]:
    """A body and its content type."""
    asked = members(dice, operation)
    try:
        if dice.random() < 0.5:
            whole, kind = json.dumps(asked).encode(), "application/x-amz-json-1.1"
            if dice.random() < 0.2:
                whole = whole.replace(b'"s"', dice.choice(NUMBERS).encode(), 1)
        else:
            whole, kind = cbor2.dumps(asked), "application/x-amz-cbor-1.1"
    except (RecursionError, ValueError, cbor2.CBOREncodeError):
        depth = dice.choice([500, 5000, 100_000])
        whole, kind = b'{"StreamName":' + b"[" * depth, "application/x-amz-json-1.1"
    for _ in range(dice.choice([0, 0, 0, 1, 5])):
        if whole:
            place = dice.randrange(len(whole))
            whole = whole[:place] + os.urandom(dice.randrange(3)) + whole[place + dice.randrange(3) :]
    return whole, kind


def request(dice: random.Random) -> bytes:
    operation = dice.choice(OPERATIONS if dice.random() < 0.8 else FIREHOSE)
    content, kind = body(dice, operation)
    prefix = "Firehose_20150804" if operation in FIREHOSE else "Kinesis_20131202"
    length = (
        str(len(content)) if dice.random() < 0.85 else dice.choice(["0", "-5", "9" * 30, "x", str(len(content) + 9)])
    )
    path = dice.choice(["/", "/", "/", "/native/v1/streams/s", "/native/v1/streams/s/fetch", "/healthz", "/%", "/?a=b"])
    lines = [
        f"{dice.choice(['POST', 'POST', 'POST', 'PUT', 'GET', 'DELETE', 'X' * 300])} {path} HTTP/1.1",
        "Host: a",
        f"Content-Type: {kind if dice.random() < 0.9 else 'text/plain'}",
        f"X-Amz-Target: {prefix}.{operation}",
        "X-Amz-Date: 20260101T000000Z",
        "Authorization: AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=a, "
        "Signature=b",
        f"Content-Length: {length}",
    ]
    if dice.random() < 0.05:
        lines += [f"X-{number}: {'y' * dice.choice([1, 100])}" for number in range(dice.choice([10, 2000]))]
    if dice.random() < 0.05:
        lines.append("Transfer-Encoding: chunked")
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + content


def noise(dice: random.Random) -> bytes:
    """What is no request: bytes, and frames of HTTP/2 with anything in them."""
    if dice.random() < 0.4:
        return os.urandom(dice.randrange(1, 300))
    frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)[:3] + b"\x04\0\0\0\0\0"
    for _ in range(dice.randrange(1, 8)):
        payload = os.urandom(dice.choice([0, 4, 8, 100]))
        size = len(payload) if dice.random() < 0.8 else dice.randrange(1 << 24)
        head = size.to_bytes(3, "big") + bytes([dice.randrange(12), dice.randrange(256)])
        frames += head + dice.choice([0, 1, 3, 1 << 30]).to_bytes(4, "big") + payload
    return frames


async def storm(port: int, seed: int, seconds: float) -> list[str]:
    """What came back that should not have."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    wrong: list[str] = []

    async def send(number: int) -> None:
        dice = random.Random(seed * 1000 + number)
        while loop.time() < end and not wrong:
            sent = request(dice) if dice.random() < 0.8 else noise(dice)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                for piece in pieces(dice, sent):
                    writer.write(piece)
                    await asyncio.sleep(0)
                if dice.random() < 0.3:
                    writer.write_eof()
                async with asyncio.timeout(0.3 if dice.random() < 0.9 else 0.01):
                    answer = await reader.read(1 << 16)
                status = STATUS.match(answer)
                if status is not None and status[1] >= b"500" and b"InternalFailure" in answer:
                    wrong.append(f"{sent[:2000]!r} → {answer[:500]!r}")
            except (OSError, TimeoutError):
                pass
            finally:
                writer.transport.abort()

    await asyncio.gather(*(send(number) for number in range(SENDERS)))
    return wrong


def pieces(dice: random.Random, sent: bytes) -> list[bytes]:
    if dice.random() < 0.7:
        return [sent]
    places = sorted(dice.randrange(len(sent) + 1) for _ in range(3))
    return [sent[begin:end] for begin, end in zip([0, *places], [*places, len(sent)], strict=True)]


async def withstand(tmp_path: Path, seed: int, seconds: float) -> None:
    # What may have been made on the way is no leak: a few streams, no more.
    with ServerProcess(tmp_path / "data", "--log-sync", "os") as server:
        server.start()
        server.client("kinesis").create_stream(StreamName="s", ShardCount=1)
        process = psutil.Process(server.pid)
        files = process.num_fds()
        assert not await storm(server.port, seed, min(seconds / 5, 60)), server.tail()
        before = process.memory_info().rss
        wrong = await storm(server.port, seed + 1, seconds)
        assert not wrong, f"{wrong[0]}\n{server.tail()}"
        names = await asyncio.to_thread(lambda: server.client("kinesis").list_streams()["StreamNames"])
        assert "s" in names or names == [], "it answers"
        assert process.memory_info().rss - before < MEMORY_GROWTH_MAX
        for _ in range(180):
            # Connections that were aborted are closed when the server hears of it.
            if process.num_fds() <= files + 50 + 3 * len(names):
                break
            await asyncio.sleep(0.5)
        assert process.num_fds() <= files + 50 + 3 * len(names)
        assert "Traceback" not in server.log.read_text(), server.tail()
        assert server.stop() == 0


async def test_the_server_withstands_anything(tmp_path: Path, seed: int) -> None:
    await withstand(tmp_path, seed, 8)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_and_for_ten_minutes(tmp_path: Path, seed: int) -> None:
    await withstand(tmp_path, seed, 600)
