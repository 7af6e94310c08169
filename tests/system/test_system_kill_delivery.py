"""`kill -9` of a server that does everything that delivery does, at random moments, again and again: direct put and a Kinesis
source through splits and merges, parts of aggregated records, a function, dynamic partitioning, Parquet, originals kept, an
HTTP endpoint.

What must hold: every acknowledged record is in exactly one object (or in the error output, once), of every delivery stream;
and `headrace firehose verify` finds the data directory whole, at any moment at which the server was killed.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.delivery_load import Found, Load, create, doubled, endpoint, environment, lost, misplaced
from tests.system.process import ServerProcess

KILLS = 10
KILLS_OF_SOAK = 200
VERIFIED_EVERY = 5
"""Kills between two proofs of the data directory that a kill left."""
DELIVERED_S_MAX = 180


@pytest.mark.timeout(900)
async def test_every_record_is_in_one_object_through_ten_kills(tmp_path: Path, seed: int) -> None:
    await kill_again_and_again(tmp_path, seed, KILLS)


@pytest.mark.soak
@pytest.mark.timeout(7200)
async def test_nor_do_two_hundred_kills_lose_or_double_one(tmp_path: Path, seed: int) -> None:
    await kill_again_and_again(tmp_path, seed, KILLS_OF_SOAK)


async def kill_again_and_again(tmp_path: Path, seed: int, kills: int) -> None:
    data, taken = tmp_path / "data", tmp_path / "taken"
    randomness = random.Random(seed)
    with endpoint(taken) as url, ServerProcess(data, environment=environment()) as server:
        port = server.start().port
        create(server, url)
        load = Load(server, random.Random(randomness.random()))
        for number in range(1, kills + 1):
            load.start()
            # How long the load runs is the random moment of the kill; nothing is waited for.
            await asyncio.sleep(randomness.uniform(0.02, 3.0))
            await asyncio.to_thread(randomness.choice([server.kill, server.kill_only]))
            await asyncio.to_thread(load.stop)
            if number % VERIFIED_EVERY == 0:
                print(f"{number} kills, {len(load.events)} and {len(load.direct)} records acknowledged", flush=True)
                await asyncio.to_thread(verify, data)
            await asyncio.to_thread(server.start, port)
        found = Found(data / "buckets", taken)
        places = found.records()
        for _ in range(DELIVERED_S_MAX):
            if not lost(load, places):
                break
            # Another process delivers; its files are all that shows of it.
            await asyncio.sleep(1)
            places = found.records()
        assert server.stop() == 0, server.tail()
        places = found.records()
    assert len(load.events) > kills, "the load put something between the kills"
    assert len(load.direct) > kills
    assert not lost(load, places)[:5]
    assert not doubled(places)[:5]
    assert not misplaced(load, places)[:5]
    empty = {place for place, records in places.items() if not records}
    assert empty <= {"pushed, failed"}, (
        "every place has had something; only chance decides which requests are never taken"
    )
    verify(data)


def verify(data: Path) -> None:
    """Proves the data directory that a process left, however it ended."""
    command = [sys.executable, "-m", "gateway.cli", "firehose", "verify", "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
