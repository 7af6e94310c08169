"""The load generator: a process of its own, one closed loop a connection, the same bytes for every server.

    python -m benchmarks.load --port 4567 --operation PutRecords --count 500 --size 1024 --concurrency 4 --seconds 5

prints one JSON object. Every answer is checked: its status, and that no record of it failed. What the server's process
tree spent of the CPU is read from the operating system at the beginning and at the end of the measured time.
"""

from __future__ import annotations

import asyncio
import itertools
import resource
import time
from collections.abc import Callable
from typing import Any

import click
import msgspec
import psutil
import uvloop

from benchmarks import aws
from benchmarks.connection import Answer, Connection, request

_DISTINCT_BODIES = 8
"""Bodies that a connection cycles through: enough that no server can profit from seeing the same bytes."""


class Load(msgspec.Struct, kw_only=True):
    """What one run saw in its measured time. `records` were acknowledged or read, `bytes` are those of their data."""

    requests: int
    records: int
    bytes: int
    failed: int
    seconds: float
    server_cpu_s: float
    client_cpu_s: float
    p50_ms: float
    p99_ms: float


Check = Callable[[Answer], int]
"""Records that an answer acknowledges or carries."""


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its living descendants and those that it has buried."""
    root = psutil.Process(pid)
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def own_cpu_s() -> float:
    """User and system time of this process, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def run(
    host: str,
    port: int,
    loops: list[list[bytes]],
    count: int,
    size: int,
    check: Check,
    seconds: float,
    warmup_s: float,
    server_pid: int,
) -> Load:
    """A closed loop, on a connection of its own, for each list of requests of `count` records of `size` bytes."""
    latencies: list[float] = []
    records = 0
    measuring = stop = False

    async def loop(requests: list[bytes]) -> None:
        nonlocal records
        connection = Connection(host, port)
        for ask in itertools.cycle(requests):
            if stop:
                return
            began = time.perf_counter()
            answer = await connection.ask(ask)
            good = check(answer)
            if measuring:
                latencies.append(time.perf_counter() - began)
                records += good

    done = asyncio.gather(*(loop(requests) for requests in loops))
    await asyncio.wait([done], timeout=warmup_s)
    cpu, own, began = cpu_seconds(server_pid), own_cpu_s(), time.perf_counter()
    measuring = True
    await asyncio.wait([done], timeout=seconds)
    elapsed = time.perf_counter() - began
    spent, own_spent = cpu_seconds(server_pid) - cpu, own_cpu_s() - own
    measuring, stop = False, True
    await done
    ordered = sorted(latencies)
    assert ordered, f"no request was answered within {seconds} s"
    return Load(
        requests=len(ordered),
        records=records,
        bytes=records * size,
        failed=len(ordered) * count - records,
        seconds=elapsed,
        server_cpu_s=spent,
        client_cpu_s=own_spent,
        p50_ms=ordered[len(ordered) // 2] * 1000,
        p99_ms=ordered[int(len(ordered) * 0.99)] * 1000,
    )


def _checked(answer: Answer) -> Answer:
    if answer.status != 200:
        raise aws.CallError(f"status {answer.status}: {answer.body[:300].decode(errors='replace')}")
    return answer


def check_put_records(count: int) -> Check:
    def check(answer: Answer) -> int:
        found = aws.FAILED_COUNT.search(_checked(answer).body)
        assert found is not None, f"no FailedRecordCount in {answer.body[:200]!r}"
        return count - int(found[1])

    return check


def check_put_record(answer: Answer) -> int:
    assert b'"SequenceNumber"' in _checked(answer).body
    return 1


def check_get_records() -> Check:
    """Counts the records of an answer, once for each length of answer seen, to keep the client cheap."""
    known: dict[int, int] = {}

    def check(answer: Answer) -> int:
        length = len(_checked(answer).body)
        if length not in known:
            known[length] = answer.body.count(b'"PartitionKey"')
            assert known[length] > 0, "an answer without records"
        return known[length]

    return check


async def _iterator(host: str, port: int) -> str:
    shards = await aws.call(host, port, "DescribeStream", {"StreamName": aws.STREAM})
    shard = shards["StreamDescription"]["Shards"][0]["ShardId"]
    where = {"StreamName": aws.STREAM, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    return str((await aws.call(host, port, "GetShardIterator", where))["ShardIterator"])


async def _main(
    host: str,
    port: int,
    server_pid: int,
    operation: str,
    count: int,
    size: int,
    concurrency: int,
    seconds: float,
    warmup: float,
) -> Load:
    def requests(body: Callable[[int], bytes]) -> list[list[bytes]]:
        seeds = range(concurrency * _DISTINCT_BODIES)
        made = [request(host, port, operation, body(seed)) for seed in seeds]
        return [made[n::concurrency] for n in range(concurrency)]

    check: Check
    if operation == "PutRecords":
        loops = requests(lambda seed: aws.put_records_body(count, size, seed))
        check = check_put_records(count)
    elif operation == "PutRecord":
        count = 1
        loops = requests(lambda seed: aws.put_record_body(size, seed))
        check = check_put_record
    else:
        ask = msgspec.json.encode({"ShardIterator": await _iterator(host, port), "Limit": count})
        loops = [[request(host, port, operation, ask)]] * concurrency
        check = check_get_records()
    return await run(host, port, loops, count, size, check, seconds, warmup, server_pid)


@click.command()
@click.option("--host", default="127.0.0.1")
@click.option("--port", type=int, required=True)
@click.option("--server-pid", type=int, required=True)
@click.option("--operation", type=click.Choice(["PutRecords", "PutRecord", "GetRecords"]), required=True)
@click.option("--count", type=int, default=500, help="Records of a request.")
@click.option("--size", type=int, default=1024, help="Bytes of data of a record.")
@click.option("--concurrency", type=int, default=4)
@click.option("--seconds", type=float, default=5.0)
@click.option("--warmup", type=float, default=1.0)
def main(**options: Any) -> None:
    click.echo(msgspec.json.encode(uvloop.run(_main(**options))).decode())


if __name__ == "__main__":
    main()
