"""A real `headrace serve` in a process of its own, to be killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

from botocore.config import Config

from tests.aws import session

READY = re.compile(r"(http://[0-9.]+:\d+)")
READY_S_MAX = 120.0


class ServerProcess:
    """Started by `start`, which returns when the server says that it is ready; its standard error is kept for failures."""

    def __init__(self, data: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        self.data = data
        self.options = options
        self.environment = environment or {}
        self.url = ""
        self._process: subprocess.Popen[str] | None = None
        self.log = data.parent / f"{data.name}.log"

    def start(self, port: int = 0) -> ServerProcess:
        with self.log.open("a") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "gateway.cli",
                    "serve",
                    "--data",
                    str(self.data),
                    "--port",
                    str(port),
                    *self.options,
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        self._process = process
        assert process.stdout is not None
        watchdog = threading.Timer(READY_S_MAX, process.kill)
        watchdog.start()
        line = process.stdout.readline()
        watchdog.cancel()
        found = READY.search(line)
        assert found, f"the server said {line!r} and not that it is ready; its log ends:\n{self.tail()}"
        self.url = found.group(1)
        return self

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        """kill -9 of the server and of every process that it started, as when the machine stops."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def kill_only(self) -> None:
        """kill -9 of the server process alone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM, as a service manager does; the exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(timeout=60)
        finally:
            if self._process.poll() is None:
                self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever a test ended with, its server ends with it."""
        if self.running:
            self.kill()

    def tail(self) -> str:
        return self.log.read_text()[-4000:]

    def client(self, service: str, **config: object) -> Any:
        """A boto3 client of this server that does not retry by itself: a test decides what a failure means."""
        return session().client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20, **config),
        )
