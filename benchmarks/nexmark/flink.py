"""Apache Flink beside Headrace: PyPI's apache-flink in an environment of its own, which is installed when it is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa

from benchmarks.harness import progress
from benchmarks.nexmark import events, runs
from benchmarks.nexmark.query import Query
from benchmarks.subjects import PEERS, Unavailable

RELEASE = "2.3.0"
HEAP = "-Xmx6g"
SHORT, LONG = 1, 4
"""Units of events in the two jobs whose difference is measured."""

LIGHT = 4
"""Times as many events are made of sums for a query that looks at one at a time: of fewer, the start of a job, which is not
quite alike twice, is larger than the difference."""


class Measured(msgspec.Struct):
    """What Flink took for a query; `error` where it could not run it."""

    name: str
    rate: float = 0.0
    cpu_s_per_million: float = 0.0
    error: str = ""


def install() -> Path:
    """Its Python. Raises `Unavailable`."""
    if shutil.which("java") is None:
        raise Unavailable("it needs java, which is not on the PATH")
    folder = PEERS / f"flink-{RELEASE}"
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        progress(f"installing apache-flink {RELEASE} into {folder}")
        PEERS.mkdir(exist_ok=True)
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", f"apache-flink=={RELEASE}"],
        ):
            made = subprocess.run(command, capture_output=True, text=True)
            if made.returncode != 0:
                raise Unavailable(f"apache-flink cannot be installed: {made.stderr.strip().splitlines()[-1:]}")
        done.touch()
    return python


def write_files(folder: Path, batches: Iterable[pa.Table]) -> None:
    """Events as JSON lines: folders `SHORT` and `LONG` of files of a unit of events each, and the reference table."""
    runs.write_side(folder)
    for name in (SHORT, LONG):
        (folder / str(name)).mkdir()
    rows = pa.concat_tables(batches)
    unit = len(rows) // LONG
    for number in range(LONG):
        path = folder / str(LONG) / f"{number}.json"
        with path.open("wb") as file:
            for part in rows.slice(number * unit, unit).to_batches(max_chunksize=events.CHUNK):
                file.write(b"\n".join(events.encode(pa.Table.from_batches([part])).to_pylist()) + b"\n")
        if number < SHORT:
            os.link(path, folder / str(SHORT) / path.name)


def measure(python: Path, folder: Path, source: str, queries: Sequence[Query], unit: int) -> list[Measured]:
    """Runs the queries over what `write_files` has written (`source` "json"), over the rows that Flink's own generator makes
    ("datagen"), or over sums and constants, which Flink compiles into one with the query ("sums")."""
    order = {
        "source": source,
        "folder": str(folder),
        "side": str(folder / "side.csv"),
        "unit": unit,
        "short": SHORT,
        "long": LONG,
        "queries": [{"name": query.name, "sql": query.flink, "scale": _scale(query, source)} for query in queries],
    }
    with subprocess.Popen(
        [str(python), str(Path(__file__).with_name("flink_job.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"JVM_ARGS": HEAP},
    ) as job:
        assert job.stdin is not None
        assert job.stdout is not None
        job.stdin.write(msgspec.json.encode(order))
        job.stdin.close()
        found = []
        for line in job.stdout:
            found.append(msgspec.json.decode(line, type=Measured))
            progress(f"Flink, {source}: {found[-1].name} {found[-1].error}")
    if job.returncode != 0:
        raise RuntimeError(f"Flink ended with exit code {job.returncode}")
    return found


def _scale(query: Query, source: str) -> int:
    heavy = any(words in query.flink for words in ("JOIN", "GROUP BY", "OVER ("))
    return LIGHT if source == "sums" and not heavy else 1
