"""A real S3 server for tests (Versity's gateway over a folder), to be killed and started again, and what may stand between
it and its clients: a proxy that loses, delays and spoils."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.aws import session
from tools.clients import FOLDER

READY_S_MAX = 30.0


def executable() -> Path:
    """In CI a server that is missing is a failure; elsewhere its tests are skipped."""
    if not (FOLDER / "s3.installed").exists():
        reason = "the S3 server is not installed (it needs Go): python -m tools.clients s3"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return FOLDER / "s3" / "server"


class S3Server:
    """Keeps its objects in `folder`. `start`, then `url`; it is reached at the same one after a restart."""

    def __init__(self, folder: Path) -> None:
        self._executable = executable()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Returns when it answers."""
        for name in ("objects", "metadata"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._executable),
                    f"127.0.0.1:{self.port}",
                    str(self._folder / "objects"),
                    str(self._folder / "metadata"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        atexit.register(self.kill)
        self._wait_ready(self._process)
        return self

    def kill(self) -> None:
        """As ``kill -9``. Killing one that does not run does nothing."""
        process, self._process = self._process, None
        if process is not None:
            atexit.unregister(self.kill)
            process.send_signal(signal.SIGKILL)
            process.wait()

    def client(self) -> Any:
        """boto3's."""
        return session().client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        """There is nothing to wait on but the port: a process that starts can only be asked again."""
        deadline = time.monotonic() + READY_S_MAX
        while time.monotonic() < deadline and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        self.kill()
        raise AssertionError(f"the S3 server did not start:\n{(self._folder / 'server.log').read_text()[-2000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


Fault = Callable[[socket.socket, bytes, int], bool]
"""What becomes of a request: the client's connection, the head of the request, and the server's port → whether the
request is to go on to the server after all."""


class Proxy:
    """Passes requests on, each over a connection of its own. While there are `faults`, each request whose head begins with
    `method` meets the next one."""

    def __init__(self, port: int, method: bytes = b"PUT") -> None:
        self.faults: list[Fault] = []
        self.met = 0
        self._to = port
        self._method = method
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        for one in (self._listener, *self._open):
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client:
                head = client.recv(65_536)
                if self.faults and head.startswith(self._method):
                    self.met += 1
                    if not self.faults.pop(0)(client, head, self._to):
                        return
                self._pass(client, head)
        except OSError:
            pass  # either side went away: the other notices

    def _pass(self, client: socket.socket, head: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self._to)) as server:
            server.sendall(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def answers(status: str, code: str = "InternalError") -> Fault:
    """The server says no, without doing anything."""

    def fault(client: socket.socket, head: bytes, port: int) -> bool:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        client.sendall(
            f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        client.shutdown(socket.SHUT_WR)
        _drain(client)
        return False

    return fault


def resets(client: socket.socket, head: bytes, port: int) -> bool:
    """The connection breaks off before anything has come to the server."""
    return False


def breaks_off(client: socket.socket, head: bytes, port: int) -> bool:
    """The upload stops in the middle: the server has seen a part of it."""
    with socket.create_connection(("127.0.0.1", port)) as server:
        server.sendall(head[: len(head) * 9 // 10])
    return False


def loses_the_answer(client: socket.socket, head: bytes, port: int) -> bool:
    """The server has done it, and the client does not learn so."""
    with socket.create_connection(("127.0.0.1", port)) as server:
        server.sendall(head)
        client.settimeout(0.2)
        try:
            while data := client.recv(1 << 16):
                server.sendall(data)
        except TimeoutError:
            pass
        server.recv(1 << 16)
    return False


def hangs(client: socket.socket, head: bytes, port: int) -> bool:
    """No answer, ever; the client gives up."""
    _drain(client)
    return False


def is_slow(client: socket.socket, head: bytes, port: int) -> bool:
    """It goes on after a while that the client still waits for."""
    time.sleep(0.3)
    return True


def _drain(client: socket.socket) -> None:
    client.settimeout(30)
    while client.recv(1 << 16):
        pass


def environment(url: str) -> Iterator[tuple[str, str]]:
    """By which s3fs finds a server."""
    yield "AWS_ENDPOINT_URL_S3", url
    yield "AWS_ACCESS_KEY_ID", "test"
    yield "AWS_SECRET_ACCESS_KEY", "test"
    yield "AWS_DEFAULT_REGION", "us-east-1"
