"""A real Apache Kafka for tests: one node, broker and controller in one process, to be killed and started again."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

from tools.clients import FOLDER

READY_S_MAX = 180.0
"""A broker is ready after some 4 s; on a machine that is busy with other things it takes longer."""

CLUSTER = "aGVhZHJhY2UtdGVzdHMtMQ"
_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


REASON = "Apache Kafka is not installed (it needs Java 17 and Maven): python -m tools.clients kafka"


def installed() -> bool:
    """HEADRACE_TEST_KAFKA=noida looks away, to see what a machine without Java does."""
    return (FOLDER / "kafka.installed").exists() and os.environ.get("HEADRACE_TEST_KAFKA") != "noida"


def jars() -> Path:
    """The folder of the broker's jars. In CI a broker that is missing is a failure; elsewhere its tests are skipped."""
    if not installed():
        if os.environ.get("CI"):
            pytest.fail(REASON)
        pytest.skip(REASON)
    return FOLDER / "kafka" / "jars"


class Broker:
    """A broker with its storage in `folder`. `start`, then `address`; it is reached at the same one after a restart."""

    def __init__(
        self,
        folder: Path,
        jvm: Sequence[str] = _JVM,
        *,
        host: str = "127.0.0.1",
        within: Sequence[str] = (),
    ) -> None:
        """`host` is where it listens; `within` is a command that it runs under, as ``ip netns exec NAME`` is."""
        self.folder = folder
        self.host = host
        self.settings = ""
        """Lines of its properties, which come last and so are in force."""
        self._within = within
        self.port, self._controller_port = free_ports(2)
        self._jars = jars()
        self._jvm = jvm
        self._properties = folder / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``HOST:PORT``."""
        return f"{self.host}:{self.port}"

    def start(self) -> Self:
        """Returns when it answers."""
        if not self._properties.exists():
            self._format()
        log = (self.folder / "broker.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self._properties)),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        atexit.register(self.kill)
        self._wait_ready()
        return self

    def kill(self) -> None:
        """As ``kill -9``. Killing one that does not run does nothing."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """In order. Stopping twice does nothing."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """It answers nothing, and its connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            atexit.unregister(self.kill)
            process.send_signal(how)
            process.wait()

    def _format(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._properties.write_text(
            f"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{self._controller_port}
listeners=PLAINTEXT://{self.host}:{self.port},CONTROLLER://127.0.0.1:{self._controller_port}
advertised.listeners=PLAINTEXT://{self.host}:{self.port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={self.folder / "storage"}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=200
broker.session.timeout.ms=1000
{self.settings}
"""
        )
        subprocess.run(
            self._java("kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER, "--config", str(self._properties)),
            check=True,
            capture_output=True,
        )

    def _java(self, main: str, *arguments: str) -> list[str]:
        return [*self._within, "java", *self._jvm, "-cp", f"{self._jars}/*", main, *arguments]

    def _wait_ready(self) -> None:
        """There is nothing to wait on but the port: a process that starts can only be asked again."""
        assert self._process is not None
        deadline = time.monotonic() + READY_S_MAX
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection((self.host, self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.kill()
        raise AssertionError(f"the broker did not start; its log ends:\n{self.tail()}")

    def tail(self) -> str:
        return (self.folder / "broker.log").read_text(errors="replace")[-4000:]


def free_ports(count: int) -> list[int]:
    """Taken side by side, so that they are different ones."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
