"""A small broker for machines without Java: PyPI's noida-db, which speaks Kafka's protocol.

It keeps records in memory and loses them when it is killed: tests of faults run on Apache Kafka alone.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest

from tests.kafka.kafka_broker import REASON, free_ports

READY_S_MAX = 30.0


class NoidaBroker:
    """As `Broker`, of which it is what tests need that stop nobody."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> Self:
        command = shutil.which(
            "noida-db", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        )
        if command is None:
            pytest.skip(f"{REASON}, and there is no small broker instead: pip install noida-db")
        arguments = [
            "start",
            "--only",
            "kafka",
            "--kafka-port",
            str(self.port),
            "--data-dir",
            str(self.folder / "noida"),
        ]
        with (self.folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [command, *arguments], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        atexit.register(self.kill)
        deadline = time.monotonic() + READY_S_MAX
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.05)
        self.kill()
        pytest.skip(f"{REASON}, and noida-db does not start: {(self.folder / 'broker.log').read_text()[-1000:]}")

    def kill(self) -> None:
        """And whatever it has started."""
        process, self._process = self._process, None
        if process is not None:
            atexit.unregister(self.kill)
            os.killpg(process.pid, 9)
            process.wait()
