"""Members of a consumer group in processes of their own, killed at random, while the stream is split and merged and the
server is killed too: each record is made two of, exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from streams import HttpClient, Producer
from streams.core.errors import HeadraceError
from streams.core.exchange import GroupDescription
from tests.system.process import ServerProcess

ROUNDS = 8
MEMBERS = 3


def start(url: str, number: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.system.group_worker", url, f"m{number}"])


async def data_of(client: HttpClient, stream: str) -> Counter[str]:
    found = Counter[str]()
    for shard in (await client.describe_stream(stream)).shards:
        position = 0
        while True:
            fetch = await client.fetch(stream, {shard.id: position})
            if not fetch.batches:
                break
            found.update(data.decode() for data in fetch.batches[0].records.data.to_pylist())
            position = fetch.batches[0].next
    return found


async def drained(client: HttpClient, members: dict[int, subprocess.Popen[bytes]], server: ServerProcess) -> None:
    """Returns once the group has done all; says who did what where that does not come. Other processes work: how far they
    are is all that shows of it."""
    groups: list[GroupDescription] = []
    for _ in range(1200):
        with contextlib.suppress(HeadraceError):
            groups = await client.describe_groups("in")
            if groups and all(one.position >= one.tip for one in groups[0].shards):
                return
        await asyncio.sleep(0.1)
    alive = [number for number, member in members.items() if member.poll() is None]
    what = f"not drained after two minutes: {groups}; alive: {alive} of {sorted(members)}"
    raise AssertionError(f"{what}; the server's log ends:\n{server.tail()}")


async def test_each_record_is_worked_on_exactly_once_through_kills_and_reshards(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    with ServerProcess(tmp_path / "data") as server, contextlib.ExitStack() as workers:
        port = server.start().port
        client = HttpClient(server.url)
        await client.create_stream("in", 2)
        await client.create_stream("out", 3)
        members = {number: start(server.url, number) for number in range(MEMBERS)}
        workers.callback(lambda: [member.kill() for member in members.values()])
        count = 0
        async with Producer(client, "in") as producer:
            for number in range(ROUNDS):
                for _ in range(500):
                    await producer.put(f"{count:06d}", f"k{count % 37}")
                    count += 1
                await producer.flush()
                # The workers take what they can until one of them, or the server, is gone.
                await asyncio.sleep(dice.uniform(0.05, 0.6))
                victim = dice.choice(sorted(members))
                members.pop(victim).kill()
                members[MEMBERS + number] = start(server.url, MEMBERS + number)
                if number % 3 == 2:
                    await asyncio.to_thread(server.kill)
                    await asyncio.to_thread(server.start, port)
                await asyncio.to_thread(reshard, server, dice)
        await drained(client, members, server)
        written = await data_of(client, "out")
        await client.close()
        missing = sorted({f"{number:06d}" for number in range(count)} - set(written))
        assert not missing, f"{len(missing)} of {count} are missing: {missing[:20]}"
        wrong = {data: times for data, times in written.items() if times != 2}
        assert not wrong, f"not exactly twice: {dict(list(wrong.items())[:5])}"
        assert len(written) == count


def reshard(server: ServerProcess, dice: random.Random) -> None:
    """Splits a shard, or merges two, of either stream."""
    kinesis = server.client("kinesis")
    stream = dice.choice(["in", "out"])
    shards = kinesis.list_shards(StreamName=stream, ShardFilter={"Type": "AT_LATEST"})["Shards"]
    shards.sort(key=lambda one: int(one["HashKeyRange"]["StartingHashKey"]))
    if len(shards) > 3 and dice.random() < 0.5:
        first, second = shards[:2]
        kinesis.merge_shards(StreamName=stream, ShardToMerge=first["ShardId"], AdjacentShardToMerge=second["ShardId"])
        return
    one = dice.choice(shards)["ShardId"]
    found = next(shard for shard in shards if shard["ShardId"] == one)["HashKeyRange"]
    middle = (int(found["StartingHashKey"]) + int(found["EndingHashKey"])) // 2
    kinesis.split_shard(StreamName=stream, ShardToSplit=one, NewStartingHashKey=str(middle))
