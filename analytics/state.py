"""The database of an application: one DuckDB file, one transaction a micro-batch.

    about       one row: version of this layout, digest of the program, the application's own id
    journal     how far inputs and outputs have come, and what is committed and not yet known to be delivered
    sources     input → the id of its stream, for applications of the API
    w0, w1 …    partial aggregates of open windows (`analytics.plan.Window`)

A transaction takes the records read, what they did to the windows, and what is to be delivered, all or nothing. Delivery
comes after it and may be repeated; whoever receives it knows the id. A database of another version or of another program is
refused; what earlier releases wrote is converted.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping

import duckdb

from analytics import journal
from analytics.engine import Changes
from analytics.errors import SqlError
from analytics.frontier import InputTime, ShardTime
from analytics.functions import set_session
from analytics.journal import Entry, Journal, Place, Progress
from analytics.offered import Offered
from analytics.older import CONVERTED, VERSION, convert

CHECKPOINT_SIZE = 64 << 20
"""Bytes of changes before they are moved from DuckDB's log into its tables: a start after a crash reads that many again, in
half a second. Each time everything around what has changed is written anew, where rows come and go all of the state."""
CHECKPOINT_SIZE_IN_MEMORY = 256 << 20
"""The same where there is no log: it only takes back the room of deleted rows."""

_ABOUT = "CREATE TABLE about (version INTEGER, program VARCHAR, id VARCHAR)"

_TABLES = frozenset({"about", journal.TABLE, "sources"})


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
        set_session(self.connection)
        self.offered = Offered(self.connection)
        self._journal = Journal(self.connection)
        self.durable = path is not None
        size = CHECKPOINT_SIZE if self.durable else CHECKPOINT_SIZE_IN_MEMORY
        self.connection.execute(f"SET checkpoint_threshold = '{size}B'")
        if memory_max is not None:
            self.connection.execute(f"SET memory_limit = '{memory_max}B'")
        digest = hashlib.sha256(program.encode()).hexdigest()
        if generation is not None:
            digest = f"{generation}/{digest}"
        if not self.connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'about'").fetchall():
            self.connection.execute("BEGIN")
            self.connection.execute(_ABOUT)
            self.connection.execute(journal.LAYOUT)
            self.connection.execute("INSERT INTO about VALUES (?, ?, ?)", [VERSION, digest, uuid.uuid4().hex])
            self.connection.execute("COMMIT")
        found = self.connection.execute("SELECT version, program, id FROM about").fetchall()
        ((version, kept, self.id),) = found
        if version in CONVERTED:
            version = convert(self.connection, version)
        if version != VERSION:
            self.connection.close()
            raise SqlError(f"the state in {path} has version {version}; this program reads version {VERSION}")
        if kept != digest and generation is not None:
            self._begin_anew(digest, keep_positions=kept.startswith(f"{generation}/"))
        elif kept != digest:
            self.connection.close()
            raise SqlError(f"the state in {path} belongs to another program: give this one a state of its own")
        self._journal.load()

    def _begin_anew(self, digest: str, *, keep_positions: bool) -> None:
        run = self.connection.execute
        run("BEGIN")
        for (table,) in run("SELECT table_name FROM duckdb_tables() WHERE NOT temporary").fetchall():
            if table not in _TABLES:
                run(f'DROP TABLE "{table}"')
        if not keep_positions:
            self._journal.load()
            self._progress.places, self._progress.frontiers = {}, {}
            self._journal.write()
            run("DROP TABLE IF EXISTS sources")
        run("UPDATE about SET program = ?", [digest])
        run("COMMIT")

    def all_positions(self) -> dict[str, int]:
        """Of all inputs together, where they share one stream: an input may read shards that another one has read."""
        furthest: dict[str, int] = {}
        for places in self._progress.places.values():
            for shard, place in places.items():
                furthest[shard] = max(place.next, furthest.get(shard, 0))
        return furthest

    def note_source(self, input: str, stream_id: str) -> None:
        """Which stream the positions are in, that all inputs share. Where it is another under the same name, its records
        are all new."""
        run = self.connection.execute
        run("CREATE TABLE IF NOT EXISTS sources (input VARCHAR PRIMARY KEY, id VARCHAR)")
        found = run("SELECT id FROM sources WHERE input = ?", [input]).fetchall()
        if found == [(stream_id,)]:
            return
        if found:
            self._progress.places = {}
        run("BEGIN")
        self._journal.write()
        run("INSERT OR REPLACE INTO sources VALUES (?, ?)", [input, stream_id])
        run("COMMIT")

    def positions(self, input: str) -> dict[str, int]:
        """Shard → next offset; empty for an input that was never read."""
        return {shard: place.next for shard, place in self._progress.places.get(input, {}).items()}

    def load_time(self, input: str, time: InputTime) -> None:
        places = self._progress.places.get(input, {})
        time.at_ms = self._progress.frontiers.get(input)
        time.shards = {shard: ShardTime(place.high_ms, place.seen_ms) for shard, place in places.items()}

    @property
    def _progress(self) -> Progress:
        return self._journal.progress

    def sizes(self) -> dict[int, int]:
        """Output → bytes so far."""
        return {output: size for output, (size, _) in self._progress.outputs.items()}

    def outbox(self) -> list[Entry]:
        """What is committed and not yet known to be delivered."""
        return self._journal.outbox()

    def last_id(self) -> int:
        return max((last for _, last in self._progress.outputs.values()), default=0)

    def commit(
        self,
        changes: Changes,
        times: Mapping[str, tuple[Mapping[str, int], InputTime]],
        entries: Iterable[Entry],
        delivered: Iterable[int],
    ) -> None:
        """`times` by input: the next offset of each shard, and its time. Durable when it returns."""
        if not self.durable and not changes.any:
            return
        run = self.connection.execute
        run("BEGIN")
        try:
            changes.apply(self.offered)
            if self.durable:
                self._note(times)
                self._journal.write(list(entries), delivered)
            run("COMMIT")
        except BaseException:
            run("ROLLBACK")
            self._journal.load()
            raise

    def _note(self, times: Mapping[str, tuple[Mapping[str, int], InputTime]]) -> None:
        """How far the inputs have come, which in memory nobody would ever ask for."""
        now = self._progress
        for name, (positions, time) in times.items():
            places = now.places.setdefault(name, {})
            for shard, at in positions.items():
                known = time.shards.get(shard, ShardTime())
                places[shard] = Place(at, known.high_ms, known.seen_ms)
            if time.at_ms is not None:
                now.frontiers[name] = time.at_ms

    def forget(self, delivered: Iterable[int]) -> None:
        """These deliveries are known to have been made."""
        self.connection.execute("BEGIN")
        self._journal.write(delivered=delivered)
        self.connection.execute("COMMIT")

    def settle(self) -> None:
        """All that is committed is in the one file, which may be copied until the next commit."""
        self.connection.execute("CHECKPOINT")

    def close(self) -> None:
        self.connection.close()
