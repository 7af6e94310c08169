from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.cli.cli_server import HEADRACE, Server, start_server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_it_says_where_it_listens_and_ends_cleanly(tmp_path: Path, number: int) -> None:
    server = start_server(tmp_path / "data")
    with pytest.raises(urllib.error.HTTPError):  # somebody answers, though not to a bare GET
        urllib.request.urlopen(f"{server.url}/nothing-is-here", timeout=60)
    assert server.stop(number) == 0
    assert server.process.stdout is not None
    assert server.process.stdout.read() == ""


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    def headrace(server: Server, *arguments: str, stdin: str = "") -> str:
        command = [*HEADRACE, *arguments, "--endpoint", server.url]
        return subprocess.run(command, input=stdin, check=True, capture_output=True, text=True).stdout

    server = start_server(tmp_path / "data")
    headrace(server, "stream", "create", "kept")
    headrace(server, "put", "kept", stdin="one\ntwo\n")
    assert server.stop() == 0
    server = start_server(tmp_path / "data")
    lines = headrace(server, "tail", "kept", "--from", "trim_horizon", "--no-follow", "--json").splitlines()
    assert [json.loads(line)["data"] for line in lines] == ["one", "two"]
    assert server.stop() == 0


def fails(*arguments: str) -> str:
    """What `headrace serve` says on stderr when it does not start."""
    done = subprocess.run([*HEADRACE, "serve", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        said = fails("--port", str(port), "--data", str(tmp_path / "data"))
    assert f"port {port} on 127.0.0.1 is in use" in said


def test_a_data_directory_that_another_server_holds(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data")
    try:
        said = fails("--port", "0", "--data", str(tmp_path / "data"))
        assert str(tmp_path / "data") in said
        assert "another" in said or "in use" in said or "locked" in said
    finally:
        assert server.stop() == 0


def test_an_open_address_without_credentials(tmp_path: Path) -> None:
    said = fails("--host", "0.0.0.0", "--port", "0", "--data", str(tmp_path / "data"))
    assert "credentials" in said


def test_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = fails("--port", "0", "--data", str(tmp_path / "file" / "data"))
    assert str(tmp_path / "file") in said


def test_a_wrong_settings_file(tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_text("prot = 1")
    assert "unknown setting 'prot'" in fails("--config", str(tmp_path / "headrace.toml"))


def test_a_wrong_option_is_wrong_usage() -> None:
    done = subprocess.run([*HEADRACE, "serve", "--port", "70000"], capture_output=True, text=True)
    assert done.returncode == 2
