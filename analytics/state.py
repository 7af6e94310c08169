"""The database of an application: one DuckDB file, one transaction a micro-batch.

    about       one row: version of this layout, digest of the program, the application's own id
    positions   (input, shard) → next offset to read, greatest ROWTIME, clock at its last row
    frontiers   input → milliseconds
    outbox      id → output, where its bytes begin in the output, bytes: committed, not yet known to be delivered
    outputs     output → bytes so far
    sources     input → the id of its stream, for applications of the API
    w0, w1 …    partial aggregates of open windows (`analytics.plan.Window`)

A transaction takes the records read, what they did to the windows, and what is to be delivered, all or nothing. Delivery
comes after it and may be repeated; whoever receives it knows the id. A database of another version or of another program
is refused.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from analytics.engine import Changes
from analytics.errors import SqlError
from analytics.frontier import InputTime, ShardTime
from analytics.functions import prepare

VERSION = 2

_LAYOUT = """
CREATE TABLE about (version INTEGER, program VARCHAR, id VARCHAR);
CREATE TABLE positions (
    input VARCHAR, shard VARCHAR, next BIGINT, high_ms BIGINT, seen_ms BIGINT, PRIMARY KEY (input, shard)
);
CREATE TABLE frontiers (input VARCHAR PRIMARY KEY, at_ms BIGINT);
CREATE TABLE outbox (id BIGINT PRIMARY KEY, output INTEGER, begins BIGINT, bytes BLOB);
CREATE TABLE outputs (output INTEGER PRIMARY KEY, size BIGINT, last BIGINT);
"""


_TABLES = frozenset({"about", "positions", "frontiers", "outbox", "outputs", "sources"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A delivery: its number in the application, the output, and how many bytes that output had before it."""

    id: int
    output: int
    at: int
    data: bytes


class State:
    """`path` None: in memory, and gone with the process."""

    def __init__(
        self, path: str | None, program: str, generation: int | None = None, memory_max: int | None = None
    ) -> None:
        """With a `generation`, a program may take the place of another: it begins with new windows where that one stopped,
        or, in another generation, from the start. What was to be delivered stays so. `memory_max` are bytes that DuckDB
        may use."""
        try:
            self.connection = duckdb.connect(path or ":memory:", config={"threads": 1})
        except duckdb.Error as error:
            reason = str(error).split("\n", 1)[0].removeprefix("IO Error: ")
            raise SqlError(f"the state in {path} cannot be opened: {reason}") from error
        prepare(self.connection)
        self.durable = path is not None
        if memory_max is not None:
            self.connection.execute(f"SET memory_limit = '{memory_max}B'")
        digest = hashlib.sha256(program.encode()).hexdigest()
        if generation is not None:
            digest = f"{generation}/{digest}"
        if not self.connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'about'").fetchall():
            self.connection.execute("BEGIN")
            self.connection.execute(_LAYOUT)
            self.connection.execute("INSERT INTO about VALUES (?, ?, ?)", [VERSION, digest, uuid.uuid4().hex])
            self.connection.execute("COMMIT")
        found = self.connection.execute("SELECT version, program, id FROM about").fetchall()
        ((version, kept, self.id),) = found
        if version != VERSION:
            self.connection.close()
            raise SqlError(f"the state in {path} has version {version}; this program reads version {VERSION}")
        if kept != digest and generation is not None:
            self._begin_anew(digest, keep_positions=kept.startswith(f"{generation}/"))
        elif kept != digest:
            self.connection.close()
            raise SqlError(f"the state in {path} belongs to another program: give this one a state of its own")

    def _begin_anew(self, digest: str, *, keep_positions: bool) -> None:
        run = self.connection.execute
        run("BEGIN")
        for (table,) in run("SELECT table_name FROM duckdb_tables() WHERE NOT temporary").fetchall():
            if table not in _TABLES:
                run(f'DROP TABLE "{table}"')
        if not keep_positions:
            run("DELETE FROM positions")
            run("DELETE FROM frontiers")
            run("DROP TABLE IF EXISTS sources")
        run("UPDATE about SET program = ?", [digest])
        run("COMMIT")

    def all_positions(self) -> dict[str, int]:
        """Of all inputs together, where they share one stream: an input may read shards that another one has read."""
        return dict(self.connection.execute("SELECT shard, max(next) FROM positions GROUP BY shard").fetchall())

    def note_source(self, input: str, stream_id: str) -> None:
        """Which stream the positions are in, that all inputs share. Where it is another under the same name, its records
        are all new."""
        run = self.connection.execute
        run("CREATE TABLE IF NOT EXISTS sources (input VARCHAR PRIMARY KEY, id VARCHAR)")
        found = run("SELECT id FROM sources WHERE input = ?", [input]).fetchall()
        if found == [(stream_id,)]:
            return
        run("BEGIN")
        if found:
            run("DELETE FROM positions")
        run("INSERT OR REPLACE INTO sources VALUES (?, ?)", [input, stream_id])
        run("COMMIT")

    def positions(self, input: str) -> dict[str, int]:
        """Shard → next offset; empty for an input that was never read."""
        found = self.connection.execute("SELECT shard, next FROM positions WHERE input = ?", [input]).fetchall()
        return dict(found)

    def load_time(self, input: str, time: InputTime) -> None:
        found = self.connection.execute("SELECT at_ms FROM frontiers WHERE input = ?", [input]).fetchall()
        time.at_ms = found[0][0] if found else None
        shards = self.connection.execute("SELECT shard, high_ms, seen_ms FROM positions WHERE input = ?", [input])
        time.shards = {shard: ShardTime(high, seen) for shard, high, seen in shards.fetchall()}

    def sizes(self) -> dict[int, int]:
        """Output → bytes so far."""
        return dict(self.connection.execute("SELECT output, size FROM outputs").fetchall())

    def outbox(self) -> list[Entry]:
        return [Entry(*row) for row in self.connection.execute("SELECT * FROM outbox ORDER BY id").fetchall()]

    def last_id(self) -> int:
        found = self.connection.execute("SELECT coalesce(max(last), 0) FROM outputs").fetchall()
        return int(found[0][0])

    def commit(
        self,
        changes: Changes,
        times: Mapping[str, tuple[Mapping[str, int], InputTime]],
        entries: Iterable[Entry],
        delivered: Iterable[int],
    ) -> None:
        """`times` by input: the next offset of each shard, and its time. Durable when it returns."""
        run = self.connection.execute
        run("BEGIN")
        try:
            changes.apply(self.connection)
            if self.durable:
                self._note(times, list(entries), delivered)
            run("COMMIT")
        except BaseException:
            run("ROLLBACK")
            raise

    def _note(
        self,
        times: Mapping[str, tuple[Mapping[str, int], InputTime]],
        entries: Sequence[Entry],
        delivered: Iterable[int],
    ) -> None:
        """Where everything has come to, which in memory nobody would ever ask for."""
        shards = [
            (name, shard, at, known.high_ms, known.seen_ms)
            for name, (positions, time) in times.items()
            for shard, at in positions.items()
            for known in (time.shards.get(shard, ShardTime()),)
        ]
        self._replace("positions", "input", shards)
        self._replace("frontiers", "input", [(name, t.at_ms) for name, (_, t) in times.items() if t.at_ms is not None])
        last = {entry.output: (entry.output, entry.at + len(entry.data), entry.id) for entry in entries}
        self._replace("outputs", "output", list(last.values()))
        for entry in entries:
            self.connection.execute(
                "INSERT INTO outbox VALUES (?, ?, ?, ?)", [entry.id, entry.output, entry.at, entry.data]
            )
        self.forget(delivered)

    def _replace(self, table: str, key: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """The rows of the keys (the first column) that are given. DuckDB takes twice as long for an INSERT OR REPLACE."""
        if not rows:
            return
        keys = list(dict.fromkeys(row[0] for row in rows))
        self.connection.execute(f"DELETE FROM {table} WHERE list_contains(?, {key})", [keys])
        places = ", ".join([f"({', '.join('?' * len(rows[0]))})"] * len(rows))
        self.connection.execute(f"INSERT INTO {table} VALUES {places}", [value for row in rows for value in row])

    def forget(self, delivered: Iterable[int]) -> None:
        """These deliveries are known to have been made."""
        ids = list(delivered)
        if ids:
            self.connection.execute("DELETE FROM outbox WHERE list_contains(?, id)", [ids])

    def settle(self) -> None:
        """All that is committed is in the one file, which may be copied until the next commit."""
        self.connection.execute("CHECKPOINT")

    def close(self) -> None:
        self.connection.close()
