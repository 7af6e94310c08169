"""A real Apache Kafka for tests: one node, broker and controller in one process, to be killed and started again."""

from __future__ import annotations

import atexit
import base64
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

from tools.clients import FOLDER

READY_S_MAX = 180.0
"""A broker is ready after some 4 s; on a machine that is busy with other things it takes longer."""

CLUSTER = "aGVhZHJhY2UtdGVzdHMtMQ"
JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
START = FOLDER / "kafka-start"
"""What brokers start from, where it is `prepared`: an archive of their classes, and storage that is formatted."""
REASON = "Apache Kafka is not installed (it needs Java 17 and Maven): python -m tools.clients kafka"


def installed() -> bool:
    """HEADRACE_TEST_KAFKA=noida looks away, to see what a machine without Java does."""
    return (FOLDER / "kafka.installed").exists() and os.environ.get("HEADRACE_TEST_KAFKA") != "noida"


def prepared() -> bool:
    """Whether `kafka_start` has been here."""
    return (FOLDER / "kafka-start.installed").exists()


def jars() -> Path:
    """The folder of the broker's jars. In CI a broker that is missing is a failure; elsewhere its tests are skipped."""
    if not installed():
        if os.environ.get("CI"):
            pytest.fail(REASON)
        pytest.skip(REASON)
    # The archive is of classes from jars by their paths: one path for them, from wherever they are linked.
    return (FOLDER / "kafka" / "jars").resolve()


class Broker:
    """A broker with its storage in `folder`. `start`, then `address`; it is reached at the same one after a restart."""

    def __init__(
        self,
        folder: Path,
        jvm: Sequence[str] = JVM,
        *,
        host: str = "127.0.0.1",
        within: Sequence[str] = (),
    ) -> None:
        """`host` is where it listens; `within` is a command that it runs under, as ``ip netns exec NAME`` is."""
        self.folder = folder
        self.host = host
        self.node = 1
        self.settings = ""
        """Lines of its properties, which come last and so are in force."""
        self._within = within
        self.port, self._controller_port = free_ports(2)
        self._jars = jars()
        self.jvm = jvm
        self._properties = folder / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``HOST:PORT``."""
        return f"{self.host}:{self.port}"

    def start(self) -> Self:
        """Returns when it answers."""
        if not self._properties.exists():
            self.format()
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
        """It answers nothing from now on, and its connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self._process.pid}/task")
        # On a busy machine one of its threads may have more to do before it stops.
        while any(" T " not in _stat(thread) for thread in threads.iterdir()):
            time.sleep(0.005)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            atexit.unregister(self.kill)
            process.send_signal(how)
            process.wait()

    def format(self) -> None:
        """Its properties and its storage."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._properties.write_text(
            f"""
process.roles=broker,controller
node.id={self.node}
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
group.min.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
broker.session.timeout.ms=1000
{self.settings}
"""
        )
        if prepared():
            self._copy_storage()
            return
        subprocess.run(
            self._java("kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER, "--config", str(self._properties)),
            check=True,
            capture_output=True,
        )

    def _copy_storage(self) -> None:
        """As formatting does it, without a Java of its own: storage of any node differs in two lines."""
        storage = self.folder / "storage"
        shutil.copytree(START / "storage", storage)
        own = {"node.id": str(self.node), "directory.id": base64.urlsafe_b64encode(uuid.uuid4().bytes)[:22].decode()}
        lines = [line.partition("=") for line in (storage / "meta.properties").read_text().splitlines()]
        (storage / "meta.properties").write_text("".join(f"{key}={own.get(key, value)}\n" for key, _, value in lines))

    def _java(self, main: str, *arguments: str) -> list[str]:
        archive = (f"-XX:SharedArchiveFile={(START / 'classes.jsa').resolve()}",) if prepared() else ()
        return [*self._within, "java", *archive, *self.jvm, "-cp", f"{self._jars}/*", main, *arguments]

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


def _stat(thread: Path) -> str:
    try:
        return (thread / "stat").read_text()
    except OSError:
        return " T "  # it has ended


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
