"""The servers under test: Headrace, and the peers that it is measured against, installed into ``benchmarks/.peers``."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec
import psutil

HOST = "127.0.0.1"
PEERS = Path(__file__).parent / ".peers"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
_NPM_PEERS = {"kinesis-local": "0.6.2", "kinesalite": "3.3.3"}


class Unavailable(Exception):
    """A peer cannot run here; the message says why, in a sentence."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server under test."""

    name: str
    port: int
    pid: int


@dataclass(frozen=True, slots=True)
class Subject:
    """`command` gives the arguments and extra environment that serve on a port, keeping what is kept in a directory."""

    name: str
    version: str
    command: Callable[[int, Path], tuple[list[str], dict[str, str]]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(subject: Subject, data: Path | None = None) -> Iterator[Server]:
    """Starts the subject, waits for its port, and stops it in the end. What it writes goes to a temporary directory,
    unless `data` names one that stays."""
    with contextlib.ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-bench-")))
        port = free_port()
        arguments, environment = subject.command(port, folder)
        output = stack.enter_context((folder / "server.txt").open("ab"))
        process = subprocess.Popen(
            arguments, env=os.environ | environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
        stack.callback(stop, process)
        wait_for_port(port, process)
        yield Server(subject.name, port, process.pid)


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Returns when somebody accepts connections on `port`. Raises `Unavailable` if the process ends before."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Unavailable(f"{process.args!r} ended with exit code {process.returncode} before it listened")
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.005)
    raise Unavailable(f"{process.args!r} did not listen on port {port} within {START_TIMEOUT_S:.0f} s")


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the whole tree, SIGKILL where that is not enough."""
    with contextlib.suppress(psutil.NoSuchProcess):
        tree = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for member in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.terminate()
        for member in psutil.wait_procs(tree, STOP_TIMEOUT_S)[1]:
            member.kill()
    process.wait()


def headrace(**settings: str) -> Subject:
    """Headrace from this source tree with its defaults (``log_sync = "always"``) and, on top, `settings`."""

    def command(port: int, folder: Path) -> tuple[list[str], dict[str, str]]:
        arguments = [sys.executable, "-m", "gateway.cli", "serve", "--port", str(port), "--data", str(folder / "data")]
        root = str(Path(__file__).parent.parent)
        return arguments, {f"HEADRACE_{name.upper()}": value for name, value in settings.items()} | {"PYTHONPATH": root}

    return Subject("headrace", version("headrace"), command)


def kinesalite() -> Subject:
    """npm kinesalite, in memory."""
    script = _npm("kinesalite") / "cli.js"
    return Subject(
        "kinesalite",
        _NPM_PEERS["kinesalite"],
        lambda port, _: (["node", str(script), "--port", str(port), "--createStreamMs", "1"], {}),
    )


def kinesis_local() -> Subject:
    """npm kinesis-local, which is kinesis-mock compiled for node, in memory."""
    script = _npm("kinesis-local") / "main.js"

    def command(port: int, _: Path) -> tuple[list[str], dict[str, str]]:
        return ["node", str(script)], {
            "KINESIS_MOCK_PLAIN_PORT": str(port),
            "KINESIS_MOCK_TLS_PORT": str(free_port()),
            "KINESIS_MOCK_CERT_PATH": str(script.parent / "server.json"),
            "LOG_LEVEL": "ERROR",
            "CREATE_STREAM_DURATION": "1ms",
        }

    return Subject("kinesis-local", _NPM_PEERS["kinesis-local"], command)


def moto() -> Subject:
    """PyPI moto[server], which comes with the extra `bench`, in memory."""
    script = Path(sys.executable).with_name("moto_server")
    if not script.exists():
        raise Unavailable("moto_server is not installed: pip install 'headrace[bench]'")
    return Subject("moto_server", version("moto"), lambda port, _: ([str(script), "-p", str(port)], {}))


PEER_SUBJECTS: dict[str, Callable[[], Subject]] = {
    "kinesalite": kinesalite,
    "kinesis-local": kinesis_local,
    "moto_server": moto,
}


def _npm(package: str) -> Path:
    """The folder of an npm peer, installed there when it is not yet. Raises `Unavailable`."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Unavailable(f"{package} needs node and npm, which are not on the PATH")
    folder = PEERS / "node_modules" / package
    manifest = folder / "package.json"
    wanted = _NPM_PEERS[package]
    if not manifest.exists() or msgspec.json.decode(manifest.read_bytes())["version"] != wanted:
        PEERS.mkdir(exist_ok=True)
        names = [f"{name}@{release}" for name, release in _NPM_PEERS.items()]
        install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(PEERS), *names]
        done = subprocess.run(install, capture_output=True, text=True)
        if done.returncode != 0:
            raise Unavailable(f"npm could not install {package}: {done.stderr.strip().splitlines()[-1:]}")
    return folder
