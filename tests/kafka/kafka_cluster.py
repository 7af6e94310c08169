"""Three brokers of Apache Kafka on one machine, each broker and controller in one: to be killed, moved and brought back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.kafka.kafka_broker import Broker, free_ports

NODES = 3
_JVM = ("-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


class Cluster:
    """Every record on all three, and acknowledged by two at least. `start` it, `kill` it."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [Broker(folder / str(node), _JVM) for node in range(1, NODES + 1)]
        controllers = free_ports(NODES)
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(controllers, 1))
        for node, (broker, controller) in enumerate(zip(self.nodes, controllers, strict=True), 1):
            broker.node = node
            broker.settings = f"""
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{broker.port},CONTROLLER://127.0.0.1:{controller}
default.replication.factor={NODES}
min.insync.replicas=2
offsets.topic.replication.factor={NODES}
replica.lag.time.max.ms=3000
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1500
controlled.shutdown.enable=true
"""

    @property
    def address(self) -> str:
        return ",".join(node.address for node in self.nodes)

    def each(self, what: Callable[[Broker], object]) -> None:
        with ThreadPoolExecutor(NODES) as pool:
            list(pool.map(what, self.nodes))

    def start(self) -> Cluster:
        self.each(Broker.start)
        return self

    def kill(self) -> None:
        self.each(Broker.kill)
