"""A real server in a process of its own, and the command line as a person or a program runs it."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.cli.cli_server import Headrace, Server, start_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = start_server(tmp_path_factory.mktemp("server") / "data")
    yield started
    assert started.stop() == 0


@pytest.fixture
def headrace(server: Server, monkeypatch: pytest.MonkeyPatch) -> Headrace:
    """Runs a command against the server in this process; `stdin` is bytes or text."""
    monkeypatch.setenv("HEADRACE_ENDPOINT", server.url)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, stdin: bytes | str | None = None) -> Result:
        return CliRunner().invoke(main, list(arguments), input=stdin, prog_name="headrace")

    return run


@pytest.fixture
def stream(headrace: Headrace) -> str:
    """A stream of two shards with a name of its own."""
    name = f"s-{uuid.uuid4().hex[:10]}"
    assert headrace("stream", "create", name, "--shards", "2").exit_code == 0
    return name


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
