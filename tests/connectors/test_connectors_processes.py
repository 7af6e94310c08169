"""Processes under uvloop: that they start whatever the process has done before, and how they end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import pyarrow as pa
import uvloop

from connectors.formats.json import decode_json
from connectors.formats.schema import Column
from connectors.processes import spawn


def test_a_process_starts_after_duckdb_has_worked_in_a_thread() -> None:
    async def work() -> tuple[int, int | None]:
        data = pa.array([b'{"a": 1}'])
        await asyncio.to_thread(decode_json, data, [Column("a", pa.int32())])
        process = spawn(["/bin/true"], output=subprocess.DEVNULL)
        return await process.wait(), process.returncode

    assert uvloop.run(work()) == (0, 0)


def test_what_it_writes_is_read_and_a_signal_is_told() -> None:
    async def work() -> tuple[bytes, int, list[int]]:
        program = "import sys; print('hello'); sys.stderr.write('there'); sys.stdout.flush(); sys.stdin.read(); input()"
        process = spawn([sys.executable, "-c", program], output=subprocess.PIPE)
        output = await process.output(1 << 16)
        line = await output.readline()
        process.send_signal(signal.SIGKILL)
        both = await asyncio.gather(process.wait(), process.wait())
        process.close()
        return line, await process.wait(), both

    line, status, both = uvloop.run(work())
    assert line.startswith((b"hello", b"there"))
    assert both == [status, status]
    assert status in (-signal.SIGKILL, 1)
