"""Groups that a table keeps: those that had a row within an interval, and of them the last so many.

A group that had no row for longer is forgotten, and so is the one whose last row is the oldest where there are too many; a
row that comes after it begins the group anew. Rows are taken in the order of their time, so what is forgotten depends on
them alone, not on how they were batched.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analytics.firsts import LATEST, first_rows
from analytics.operators.work import END, Change, Shape, Work
from analytics.spans import Left

_MS = "epoch_ms(CAST(rt AS TIMESTAMP))"


@dataclass(frozen=True, slots=True)
class Retain:
    """`keys`: at most so many groups; `ms`: those that had a row within so long. At least one of them is given."""

    keys: int | None
    ms: int | None


@dataclass(frozen=True, slots=True)
class Judged:
    """`rows` are those that count, of the rows that came; `last` has the keys of their groups with the time of the last
    row; `anew` the keys of groups of which nothing from before counts; `gone` those of groups that are no more. `known`: some
    of all these groups were there before."""

    rows: pa.Table
    last: pa.Table
    anew: pa.Table
    gone: pa.Table
    known: bool = True


@dataclass(slots=True)
class Retention:
    """`table` keeps (keys, ``rt``, ``n``) of the last row of each group; `keys` are names of columns with their types."""

    table: str
    keys: Shape
    retain: Retain
    _count: int | None = None
    _nobody: pa.Table | None = None
    _eldest_ms: int | None = None
    """No last row of a group is older: what saves looking for groups that end, as long as none can."""

    @property
    def shape(self) -> Shape:
        return (*self.keys, ("rt", "TIMESTAMP_MS"), ("n", "BIGINT"))

    @property
    def names(self) -> str:
        return ", ".join(name for name, _ in self.keys)

    def same(self, left: str, right: str) -> str:
        """The condition that two rows are of one group."""
        return " AND ".join(f"{left}.{name} IS NOT DISTINCT FROM {right}.{name}" for name, _ in self.keys)

    def judge(self, work: Work, rows: pa.Table | None) -> Judged | None:
        """`rows` have keys, ``rt`` and ``n``, those of one time in their order. None where nothing came and nothing ends."""
        if self._count is None or self._nobody is None:
            self._count = work.value(f"SELECT count(*) FROM {self.table}") or 0
            self._nobody = work.table(f"SELECT {self.names} FROM {self.table} LIMIT 0")
        if self._eldest_ms is None:
            eldest = work.value(f"SELECT min({_MS}) FROM {self.table}")
            self._eldest_ms = END if eldest is None else eldest
        nobody = self._nobody
        judged = None if rows is None else self._judged(work, rows, nobody)
        ended = self._ended(work, judged, nobody)
        if judged is None and not len(ended):
            return None
        if judged is None:
            none = work.table(f"SELECT * FROM {self.table} LIMIT 0")
            judged = Judged(none, none, nobody, nobody)
        last = judged.last
        if len(ended):
            last = work.table(
                f"SELECT * FROM last ANTI JOIN ended ON {self.same('last', 'ended')}", last=last, ended=ended
            )
        gone = pa.concat_tables([judged.gone, ended])
        known = self._write(work, judged.last, last, gone)
        return Judged(judged.rows, last, judged.anew, gone, known)

    def _judged(self, work: Work, rows: pa.Table, nobody: pa.Table) -> Judged:
        assert self._count is not None, "it was counted"
        last = self._last(work, rows)
        first_ms, last_ms = _span(rows)
        crowded = self.retain.keys is not None and self._count + len(last) > self.retain.keys
        timely = self.retain.ms is None or last_ms - min(first_ms, self._eldest_ms or 0) <= self.retain.ms
        if timely and not crowded:
            return Judged(rows, last, nobody, nobody)
        known = work.table(f"SELECT old.* FROM {self.table} AS old JOIN last ON {self.same('old', 'last')}", last=last)
        if self.retain.keys is not None and self._count + len(last) - len(known) > self.retain.keys:
            return self._by_turns(work, rows, self.retain.keys)
        if timely:
            return Judged(rows, last, nobody, nobody)
        marked = f"""SELECT *, rt > lag(rt) OVER (PARTITION BY {self.names} ORDER BY rt, n)
                + to_milliseconds({self.retain.ms}) AS gap
            FROM (SELECT {self.names}, rt, n FROM known UNION ALL SELECT {self.names}, rt, n FROM rows)"""
        begun = work.table(
            f"SELECT {self.names}, max(rt) AS rt, max(n) AS n FROM ({marked}) WHERE gap GROUP BY {self.names}",
            known=known,
            rows=rows,
        )
        if not len(begun):
            return Judged(rows, last, nobody, nobody)
        kept = work.table(
            f"SELECT rows.* FROM rows LEFT JOIN begun ON {self.same('rows', 'begun')} "
            "WHERE begun.n IS NULL OR rows.rt >= begun.rt ORDER BY rows.rt, rows.n",
            rows=rows,
            begun=begun,
        )
        return Judged(kept, last, begun.drop_columns(["rt", "n"]), nobody)

    def _last(self, work: Work, rows: pa.Table) -> pa.Table:
        """The last row of each group; of those of one time, the last in the table."""
        columns = rows.select([*(name for name, _ in self.keys), "rt", "n"])
        try:
            places, _ = first_rows(columns, [name for name, _ in self.keys], LATEST, 1)
        except Left:
            return self._last_by_query(work, columns)
        return columns.take(pa.array(places))

    def _last_by_query(self, work: Work, rows: pa.Table) -> pa.Table:
        """Comparing numbers of places costs a third of comparing (``rt``, ``n``)."""
        places = np.empty(len(rows), np.int64)
        places[np.argsort(rows.column("rt").cast(pa.int64()).to_numpy(), kind="stable")] = np.arange(len(rows))
        placed = rows.append_column("place", pa.array(places))
        return work.table(
            f"SELECT {self.names}, max(rt) AS rt, arg_max(n, place) AS n FROM rows GROUP BY {self.names}", rows=placed
        )

    def _by_turns(self, work: Work, rows: pa.Table, most: int) -> Judged:
        """Where there are too many groups: a row after the other, for whom each one displaces."""
        numbered = work.table(
            f"SELECT dense_rank() OVER (ORDER BY {self.names}) - 1 AS g, {_MS} AS ms, * FROM rows ORDER BY rt, n",
            rows=rows,
        )
        groups = work.table(f"SELECT DISTINCT {self.names}, g FROM numbered ORDER BY g", numbered=numbered)
        touched = work.table(
            f"SELECT g, {_MS} AS ms, n FROM {self.table} AS old JOIN groups ON {self.same('old', 'groups')}",
            groups=groups,
        )
        # A row displaces one group at most: of those that no row is of, the oldest are all that may go.
        others = work.table(
            f"""SELECT row_number() OVER (ORDER BY rt, n) - 1 + {len(groups)} AS g, {_MS} AS ms, n
            FROM {self.table} AS old ANTI JOIN groups ON {self.same("old", "groups")}
            QUALIFY g < {len(groups) + len(rows)} OR ms + {self._length_ms} < (SELECT max(ms) FROM numbered)""",
            groups=groups,
            numbered=numbered,
        )
        old = work.table(
            "SELECT * FROM (FROM touched UNION ALL FROM others) ORDER BY ms, n", touched=touched, others=others
        )
        present = OrderedDict(zip(old.column("g").to_pylist(), old.column("ms").to_pylist(), strict=True))
        begun, gone = self._turns(numbered, present, most)
        alive = np.array([group in present for group in range(len(groups))], bool)
        starts = np.array([begun.get(group, -1) for group in range(len(groups))])
        of_row = numbered.column("g").to_numpy()
        counts = alive[of_row] & (np.arange(len(rows)) >= starts[of_row])
        kept = numbered.filter(pa.array(counts)).drop_columns(["g", "ms"])
        away = pa.table(
            {
                "n": [
                    n
                    for g, n in zip(others.column("g").to_pylist(), others.column("n").to_pylist(), strict=True)
                    if g in gone
                ]
            },
            schema=pa.schema([("n", pa.int64())]),
        )
        untouched = work.table(f"SELECT {self.names} FROM {self.table} WHERE n IN (SELECT n FROM away)", away=away)
        keys = groups.drop_columns(["g"])
        return Judged(
            kept,
            self._last(work, kept),
            keys.filter(pa.array(alive & (starts >= 0))),
            pa.concat_tables([keys.filter(pa.array(~alive)), untouched]),
        )

    @property
    def _length_ms(self) -> int:
        return END // 2 if self.retain.ms is None else self.retain.ms

    def _turns(self, rows: pa.Table, present: OrderedDict[int, int], most: int) -> tuple[dict[int, int], set[int]]:
        """`present` are the groups in the order of their last rows, with its time; it is brought up to date. Gives at which
        row groups began last, and the groups that were displaced and did not come again."""
        assert self._count is not None, "it was counted"
        size, length = self._count, self._length_ms
        begun: dict[int, int] = {}
        gone: set[int] = set()
        pairs: Sequence[tuple[int, int]] = list(
            zip(rows.column("g").to_pylist(), rows.column("ms").to_pylist(), strict=True)
        )
        for number, (group, ms) in enumerate(pairs):
            while present and next(iter(present.values())) + length < ms:
                gone.add(present.popitem(last=False)[0])
                size -= 1
            if group in present:
                present.move_to_end(group)
            else:
                begun[group] = number
                gone.discard(group)
                if size == most:
                    gone.add(present.popitem(last=False)[0])
                else:
                    size += 1
            present[group] = ms
        return begun, gone

    def _ended(self, work: Work, judged: Judged | None, nobody: pa.Table) -> pa.Table:
        """The groups that time has passed, as it is now."""
        at = work.at[0]
        assert self._eldest_ms is not None, "it was looked up"
        if judged is not None and len(judged.last):
            self._eldest_ms = min(self._eldest_ms, _span(judged.last)[0])
        if self.retain.ms is None or at is None or at >= END or self._eldest_ms + self.retain.ms >= at:
            return nobody
        self._eldest_ms = None
        parts = [f"SELECT {self.names}, rt FROM {self.table} AS old"]
        tables = {}
        if judged is not None:
            tables = {"last": judged.last, "gone": judged.gone}
            away = f"ANTI JOIN last ON {self.same('old', 'last')} ANTI JOIN gone ON {self.same('old', 'gone')}"
            parts = [f"{parts[0]} {away}", f"SELECT {self.names}, rt FROM last"]
        ended = f"rt + to_milliseconds({self.retain.ms}) < make_timestamp_ms({at})"
        return work.table(f"SELECT {self.names} FROM ({' UNION ALL '.join(parts)}) WHERE {ended}", **tables)

    def _write(self, work: Work, touched: pa.Table, last: pa.Table, gone: pa.Table) -> bool:
        """Whether some of the groups were there before."""
        assert self._count is not None, "it was counted"
        away = pa.concat_tables([touched.select([name for name, _ in self.keys]), gone])
        known = 0
        if self._count:
            sql = f"SELECT count(*) FROM {self.table} AS old SEMI JOIN away ON {self.same('old', 'away')}"
            known = work.value_of(sql, away=away) or 0
        self._count += len(last) - known
        if known:
            of_key = self.same(self.table, "added")
            work.changes.append(Change(f"DELETE FROM {self.table} USING added WHERE {of_key}", away))
        work.insert(self.table, last)
        return known > 0

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        """When the next group ends, if no row comes."""
        if self.retain.ms is None:
            return None
        ((first,),) = connection.execute(f"SELECT epoch_ms(CAST(min(rt) AS TIMESTAMP)) FROM {self.table}").fetchall()
        return None if first is None else first + self.retain.ms + 1


def _span(rows: pa.Table) -> tuple[int, int]:
    """The first and last time of rows, in milliseconds."""
    times = pc.min_max(rows.column("rt").cast(pa.timestamp("ms")).cast(pa.int64())).as_py()
    return times["min"], times["max"]
