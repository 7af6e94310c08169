"""Databases of earlier releases become those of this one."""

from __future__ import annotations

import duckdb
import msgspec

from analytics.journal import LAYOUT, Entry, Journal, Place, Progress

VERSION = 4
"""Of the layout that this release writes."""
CONVERTED = (2, 3)
"""Version 3 had one table for progress and one for deliveries, version 2 one each for positions, frontiers and outputs beside
the deliveries."""


def convert(connection: duckdb.DuckDBPyConnection, version: int) -> int:
    """Makes a database of one of `CONVERTED` one of `VERSION`, in one transaction; the version."""
    run = connection.execute
    journal = Journal(connection)
    journal.progress, gone = _of_2(connection) if version == 2 else _of_3(connection)
    entries = [Entry(*row) for row in run("SELECT id, output, begins, bytes FROM outbox ORDER BY id").fetchall()]
    run("BEGIN")
    run(LAYOUT)
    journal.write(entries)
    for table in (*gone, "outbox"):
        run(f"DROP TABLE {table}")
    run("UPDATE about SET version = ?", [VERSION])
    run("COMMIT")
    return VERSION


def _of_3(connection: duckdb.DuckDBPyConnection) -> tuple[Progress, list[str]]:
    ((data,),) = connection.execute("SELECT bytes FROM progress").fetchall()
    return msgspec.msgpack.decode(data, type=Progress), ["progress"]


def _of_2(connection: duckdb.DuckDBPyConnection) -> tuple[Progress, list[str]]:
    run = connection.execute
    progress = Progress()
    for name, shard, *place in run("SELECT input, shard, next, high_ms, seen_ms FROM positions").fetchall():
        progress.places.setdefault(name, {})[shard] = Place(*place)
    progress.frontiers = dict(run("SELECT input, at_ms FROM frontiers").fetchall())
    outputs = run("SELECT output, size, last FROM outputs").fetchall()
    progress.outputs = {output: (size, last) for output, size, last in outputs}
    return progress, ["positions", "frontiers", "outputs"]
