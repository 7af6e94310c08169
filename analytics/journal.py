"""How far an application has come and what it has to deliver: a table of its database to which each commit appends.

    journal     id, output, where the bytes begin in the output, bytes     of each delivery that the commit makes due
                number of the commit, NULL, NULL, a `Progress` in MessagePack     of the commit: the last one counts

A statement costs as much for a row as for many, so that a commit is one of them, whatever the number of shards and outputs,
and rows that are over are deleted now and then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb
import msgspec

TABLE = "journal"
LAYOUT = f"CREATE TABLE {TABLE} (id BIGINT, output INTEGER, begins BIGINT, bytes BLOB)"

OVER_MAX = 64
"""Rows that are over and still lie there."""
OVER_SIZE_MAX = 1 << 20
"""Their bytes."""


class Place(msgspec.Struct, array_like=True):
    """A shard of an input: the next offset to read, the greatest ROWTIME, and the clock at its last row."""

    next: int
    high_ms: int | None
    seen_ms: int


class Progress(msgspec.Struct, array_like=True):
    """`places` by input and shard, `frontiers` (milliseconds) by input; of each output the bytes so far, and the id of its
    last delivery. `commit` counts the commits; `delivered` are ids of deliveries that are known to have been made, and whose
    rows are still there."""

    places: dict[str, dict[str, Place]] = {}
    frontiers: dict[str, int] = {}
    outputs: dict[int, tuple[int, int]] = {}
    commit: int = 0
    delivered: list[int] = []


@dataclass(frozen=True, slots=True)
class Entry:
    """A delivery: its number in the application, the output, and how many bytes that output had before it."""

    id: int
    output: int
    at: int
    data: bytes


class Journal:
    """`progress` is what the next `write` writes down. Open it with `load`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.progress = Progress()
        self._connection = connection
        self._sizes: dict[int, int] = {}
        self._over = 0
        self._over_size = 0

    def load(self) -> None:
        """Reads what is committed; nothing where nothing was written yet."""
        run = self._connection.execute
        last = run(f"SELECT bytes FROM {TABLE} WHERE output IS NULL ORDER BY id DESC LIMIT 1").fetchone()
        self.progress = Progress() if last is None else msgspec.msgpack.decode(last[0], type=Progress)
        rows = run(f"SELECT id, output, octet_length(bytes) FROM {TABLE}").fetchall()
        made = set(self.progress.delivered)
        self._sizes = {key: size for key, output, size in rows if output is not None and key not in made}
        over = [size for key, output, size in rows if output is None or key in made]
        self._over, self._over_size = len(over), sum(over)

    def outbox(self) -> list[Entry]:
        """What is committed and not known to be delivered, in its order."""
        made = set(self.progress.delivered)
        rows = self._connection.execute(f"SELECT * FROM {TABLE} WHERE output IS NOT NULL ORDER BY id").fetchall()
        return [Entry(*row) for row in rows if row[0] not in made]

    def write(self, entries: Sequence[Entry] = (), delivered: Iterable[int] = ()) -> None:
        """`entries` are due, those of the ids `delivered` have been made. Within a transaction: `load` where it fails."""
        now = self.progress
        made = list(delivered)
        now.delivered = [*now.delivered, *made]
        self._over += len(made)
        self._over_size += sum(self._sizes.pop(key, 0) for key in made)
        if self._over >= OVER_MAX or self._over_size >= OVER_SIZE_MAX:
            self._connection.execute(
                f"DELETE FROM {TABLE} WHERE output IS NULL OR list_contains(?, id)", [now.delivered]
            )
            now.delivered = []
            self._over = self._over_size = 0
        for entry in entries:
            now.outputs[entry.output] = (entry.at + len(entry.data), entry.id)
            self._sizes[entry.id] = len(entry.data)
        now.commit += 1
        data = msgspec.msgpack.encode(now)
        rows = [*((entry.id, entry.output, entry.at, entry.data) for entry in entries), (now.commit, None, None, data)]
        self._connection.execute(
            f"INSERT INTO {TABLE} VALUES {', '.join(['(?, ?, ?, ?)'] * len(rows))}",
            [value for row in rows for value in row],
        )
        self._over += 1
        self._over_size += len(data)
