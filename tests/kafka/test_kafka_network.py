"""The network between a process and its broker is cut and mended: a broker in a network of its own, and the cable pulled."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.core.errors import LogUnreachable
from streams.core.records import ProducerMark
from streams.kafka.address import parse
from streams.kafka.log import KafkaLog
from tests.kafka.kafka_broker import Broker
from tests.log.engines import read_all, records

SHARD = "streams/8c1f/shardId-000000000000"

_turns = itertools.count()


class Network:
    """A namespace with a cable to this one. The broker's end is `there`."""

    def __init__(self) -> None:
        number = os.getpid() % 250, next(_turns) % 60
        self.name = f"headrace-{number[0]}-{number[1]}"
        self._cable = f"hr{number[0]}-{number[1]}"
        self.here, self.there = (f"10.199.{number[0]}.{4 * number[1] + end}" for end in (1, 2))
        self.within = ("ip", "netns", "exec", self.name)

    def make(self) -> None:
        _run("ip", "netns", "add", self.name)
        _run("ip", "link", "add", f"{self._cable}a", "type", "veth", "peer", "name", f"{self._cable}b")
        _run("ip", "link", "set", f"{self._cable}b", "netns", self.name)
        _run("ip", "addr", "add", f"{self.here}/30", "dev", f"{self._cable}a")
        _run("ip", "link", "set", f"{self._cable}a", "up")
        _run(*self.within, "ip", "addr", "add", f"{self.there}/30", "dev", f"{self._cable}b")
        _run(*self.within, "ip", "link", "set", "lo", "up")
        self.mend()

    def cut(self) -> None:
        """Nothing arrives any more, and nobody is told."""
        _run(*self.within, "ip", "link", "set", f"{self._cable}b", "down")

    def mend(self) -> None:
        _run(*self.within, "ip", "link", "set", f"{self._cable}b", "up")

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", f"{self._cable}a"], check=False, capture_output=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


@pytest.fixture
def network() -> Iterator[Network]:
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("a network of its own needs root and iproute2")
    network = Network()
    try:
        network.make()
    except OSError as error:
        network.remove()
        pytest.skip(f"no network of its own can be made here: {error}")
    yield network
    network.remove()


@pytest.fixture
def broker(network: Network, tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path / "kafka", host=network.there, within=network.within)
    try:
        yield broker.start()
    finally:
        broker.kill()


async def test_a_cut_costs_time_or_is_said_and_nothing_else(
    broker: Broker, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.kafka.cluster.PATIENCE_S", 2.0)
    monkeypatch.setattr("streams.kafka.appends.PATIENCE_S", 2.0)
    monkeypatch.setattr("streams.kafka.cluster.REQUEST_S", 1.0)
    monkeypatch.setattr("streams.kafka.producers.REQUEST_S", 1.0)
    log = await KafkaLog.open(parse(f"kafka://{broker.address}/cut"))
    await log.create(SHARD)
    put = [("k", b"0")]
    await log.append(SHARD, records(put), ProducerMark("p", 1))
    # A short one: whoever appends waits.
    await asyncio.to_thread(network.cut)
    append = asyncio.create_task(log.append(SHARD, records([("k", b"1")]), ProducerMark("p", 2)))
    waiting = asyncio.create_task(log.wait(SHARD, 1))
    await asyncio.sleep(0.5)
    assert not append.done()
    await asyncio.to_thread(network.mend)
    while True:
        try:
            first = await append
            break
        except LogUnreachable:
            append = asyncio.create_task(log.append(SHARD, records([("k", b"1")]), ProducerMark("p", 2)))
    assert first == 1
    put.append(("k", b"1"))
    await asyncio.gather(waiting, return_exceptions=True)
    # A long one: everybody is told in time.
    await asyncio.to_thread(network.cut)
    async with asyncio.timeout(30):
        with pytest.raises(LogUnreachable):
            await log.append(SHARD, records([("k", b"2")]), ProducerMark("p", 3))
        with pytest.raises(LogUnreachable):
            await log.bounds(SHARD)
    await asyncio.to_thread(network.mend)
    async with asyncio.timeout(60):
        while True:
            try:
                assert await log.append(SHARD, records([("k", b"2")]), ProducerMark("p", 3)) == 2
                break
            except LogUnreachable:
                continue
    put.append(("k", b"2"))
    assert await read_all(log, SHARD) == put
    await log.close()
