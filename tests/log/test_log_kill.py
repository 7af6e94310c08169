"""A process that is killed while it appends: what it was told is stored is there, once and in order, however often."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from pathlib import Path

from streams.core.clock import ManualClock
from streams.core.records import ProducerMark
from streams.log.embedded import EmbeddedLog
from tests.log.engines import read_all, records

SHARDS = ("a", "b", "c/1")
KILLS = 30
LINES_MAX = 60
SEGMENT_SIZE_MAX = 200_000
RECORDS = 3
TOGETHER = 4


async def append_until_killed(path: Path, begins: list[int], seed: int) -> None:
    """The child: numbered appends to each shard from its begin on, several at once. It says which are stored."""
    randomness = random.Random(seed)
    log = await EmbeddedLog.open(path, segment_size_max=SEGMENT_SIZE_MAX)
    for shard in SHARDS:
        await log.create(shard)

    async def one(shard: str, number: int, size: int) -> None:
        some = records([(f"{number}.{place}", b"x" * size) for place in range(RECORDS)])
        await log.append(shard, some, ProducerMark("p", number))
        sys.stdout.write(f"{shard} {number}\n")
        sys.stdout.flush()

    for turn in itertools.count():
        await asyncio.gather(
            *(
                one(shard, begin + turn * TOGETHER + at, randomness.choice([10, 1000, 20_000]))
                for at in range(TOGETHER)
                for shard, begin in zip(SHARDS, begins, strict=True)
            )
        )


async def said_until_killed(path: Path, begins: list[int], randomness: random.Random) -> dict[str, set[int]]:
    """The appends that a child calls stored before it is killed, which is a random number of lines after its begin."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.log.test_log_kill", str(path), str(randomness.randrange(2**32))),
        *map(str, begins),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    lines = [await child.stdout.readline() for _ in range(randomness.randrange(1, LINES_MAX))]
    assert all(lines), "the child has ended by itself"
    child.kill()
    lines += (await child.stdout.read()).splitlines(keepends=True)
    await child.wait()
    said: dict[str, set[int]] = {shard: set() for shard in SHARDS}
    for line in lines:
        if line.endswith(b"\n"):
            shard, number = line.split()
            said[shard.decode()].add(int(number))
    return said


async def test_what_a_killed_process_was_told_is_there(tmp_path: Path, seed: int) -> None:
    randomness = random.Random(seed)
    path = tmp_path / "log"
    appends = dict.fromkeys(SHARDS, 0)
    for kill in range(KILLS):
        said = await said_until_killed(path, list(appends.values()), randomness)
        log = await EmbeddedLog.open(path, clock=ManualClock(), segment_size_max=SEGMENT_SIZE_MAX)
        for shard in SHARDS:
            keys = [key for key, _ in await read_all(log, shard)]
            count = len(keys) // RECORDS
            expected = [f"{number}.{place}" for number in range(count) for place in range(RECORDS)]
            assert keys == expected, f"{shard} after kill {kill}"
            assert max(said[shard], default=-1) < count, f"{shard} after kill {kill}: told and not stored"
            assert count >= appends[shard], f"{shard} after kill {kill}: lost what an opening has served"
            if count:
                await log.append(shard, records([("again", b"")]), ProducerMark("p", count - 1))
                assert await log.bounds(shard) == (0, len(keys)), "a retry of the last is the last"
            appends[shard] = count
        await log.close()


if __name__ == "__main__":
    asyncio.run(append_until_killed(Path(sys.argv[1]), list(map(int, sys.argv[3:])), int(sys.argv[2])))
