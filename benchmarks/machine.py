"""Where a figure was measured, and what this machine could do at best: the constants behind the ceilings."""

from __future__ import annotations

import os
import platform
import socket
import sys
import tempfile
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import psutil

_LIBRARIES = ("pyarrow", "duckdb", "msgspec", "uvloop", "httptools", "boto3", "numpy")


class Machine(msgspec.Struct, kw_only=True):
    cpu: str
    cores: int
    memory_gb: float
    kernel: str
    python: str
    libraries: dict[str, str]
    fdatasync_ms: float
    """Median of small appends, each with fdatasync, in the temporary directory's file system."""
    disk_mb_s: float
    """Appending 64 MB in 1 MB writes with one fdatasync in the end."""
    loopback_mb_s: float
    """One TCP stream on loopback, two threads."""


def describe() -> Machine:
    """Takes about a second: it measures the disk and the loopback."""
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        kernel=platform.release(),
        python=sys.version.split()[0],
        libraries={name: installed for name in _LIBRARIES if (installed := _version(name))},
        fdatasync_ms=_fdatasync_ms(),
        disk_mb_s=_disk_mb_s(),
        loopback_mb_s=_loopback_mb_s(),
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _fdatasync_ms() -> float:
    with tempfile.TemporaryFile() as file:
        times = []
        for _ in range(100):
            began = time.perf_counter()
            os.write(file.fileno(), b"x" * 4096)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return round(sorted(times)[50] * 1000, 3)


def _disk_mb_s() -> float:
    block = os.urandom(1 << 20)
    with tempfile.TemporaryFile() as file:
        began = time.perf_counter()
        for _ in range(64):
            os.write(file.fileno(), block)
        os.fdatasync(file.fileno())
        return round(64 / (time.perf_counter() - began), 1)


def _loopback_mb_s() -> float:
    total = 256 << 20
    block = bytes(1 << 20)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send() -> None:
            with socket.create_connection(server.getsockname()) as out:
                for _ in range(total // len(block)):
                    out.sendall(block)

        sender = threading.Thread(target=send)
        sender.start()
        connection, _ = server.accept()
        with connection:
            buffer = memoryview(bytearray(1 << 20))
            began = time.perf_counter()
            received = 0
            while received < total:
                received += connection.recv_into(buffer)
            elapsed = time.perf_counter() - began
        sender.join()
    return round(total / 2**20 / elapsed, 1)
