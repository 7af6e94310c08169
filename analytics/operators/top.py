"""The first rows by some order: of each key, in a table; of each key and window, in a stream; and the first in a while."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analytics.firsts import first_rows, order_of
from analytics.operators.accumulating import GONE, Updating
from analytics.operators.buffer import Buffer
from analytics.operators.retention import Judged
from analytics.operators.work import END, Change, Shape, Work, before
from analytics.spans import Left

RANK = "rank"
"""The column of a row's number by the order."""
COMPACT_ROWS_MIN = 100_000
"""Rows of open windows before those that cannot be among the first any more are deleted."""


@dataclass(slots=True)
class Top(Updating):
    """Of each key the first `most` rows by `order`. `kept` has them; those of a key come out again whenever one of them is
    new."""

    order: str
    most: int

    @property
    def shape(self) -> Shape:
        return self.buffer.shape

    @property
    def needed(self) -> set[str]:
        """The columns that it looks at."""
        return {name for name, _ in self.retention.keys} | _columns_in(self.order)

    def step(self, work: Work) -> pa.Table | None:
        found = self.buffer.reached(work, sorted({"n", "rt", *self.needed}))
        judged = self.retention.judge(work, None if found is None else found[1])
        if judged is None:
            return None
        for keys in (judged.anew, judged.gone):
            self.forget(work, keys)
        if found is None:
            now = work.table(f"SELECT * EXCLUDE (n), 0::BIGINT AS {RANK} FROM {self.kept} LIMIT 0")
        else:
            now = self._now(work, judged, found[0])
        now = now.append_column(GONE, pa.array(np.zeros(len(now), bool)))
        if len(judged.gone):
            gone = judged.gone.append_column(GONE, pa.array(np.ones(len(judged.gone), bool)))
            now = pa.concat_tables([now, gone], promote_options="default")
        return now

    def _now(self, work: Work, judged: Judged, whole: pa.Table) -> pa.Table:
        """The first rows of the keys that rows came of, with their `RANK`. `whole` has all columns of the rows."""
        same, rows = self.retention.same, judged.rows
        if len(judged.gone):
            away = work.table(
                f"SELECT n FROM rows SEMI JOIN gone ON {same('rows', 'gone')}", rows=rows, gone=judged.gone
            )
            if len(away):
                rows = rows.filter(pc.invert(pc.is_in(rows.column("n"), away.column("n").combine_chunks())))
        new = self._first(work, rows)
        old = self._kept(work, judged, new.drop_columns([RANK])) if judged.known else new.slice(0, 0)
        if not len(old):
            won = _taken(whole, new)
            work.insert(self.kept, won.drop_columns([RANK]))
            return won.drop_columns(["n"])
        places = self._first(work, pa.concat_tables([old, new.drop_columns([RANK])]))
        before = pc.is_in(places.column("n"), old.column("n").combine_chunks())
        won, stayed = _taken(whole, places.filter(pc.invert(before))), places.filter(before)
        work.insert(self.kept, won.drop_columns([RANK]))
        lost = old.select(["n"]).filter(pc.invert(pc.is_in(old.column("n"), stayed.column("n").combine_chunks())))
        if len(lost):
            work.changes.append(Change(f"DELETE FROM {self.kept} WHERE n IN (SELECT n FROM added)", lost))
        listed = ", ".join(name for name, _ in self.buffer.shape)
        also = work.table(f"SELECT {listed} FROM {self.kept} WHERE n IN (SELECT n FROM stayed)", stayed=stayed)
        return pa.concat_tables([won, _taken(also, stayed)]).drop_columns(["n"])

    def _kept(self, work: Work, judged: Judged, like: pa.Table) -> pa.Table:
        """What is kept of the keys that rows came of, with the columns that are looked at: whole rows are touched only where
        they are among the first, or were."""
        same, names = self.retention.same, ", ".join(like.column_names)
        rows = work.table(
            f"SELECT {names} FROM {self.kept} AS old SEMI JOIN last ON {same('old', 'last')} "
            f"ANTI JOIN anew ON {same('old', 'anew')}",
            last=judged.last,
            anew=judged.anew,
        )
        return rows.cast(like.schema)

    def _first(self, work: Work, rows: pa.Table) -> pa.Table:
        """Of each key the first of some rows, with their `RANK`."""
        names = [name for name, _ in self.retention.keys]
        try:
            places, ranks = first_rows(rows, names, order_of(self.order), self.most)
        except Left:
            return work.table(
                f"SELECT *, row_number() OVER (PARTITION BY {', '.join(names)} ORDER BY {self.order}) AS {RANK} FROM rows "
                f"QUALIFY {RANK} <= {self.most}",
                rows=rows,
            )
        return rows.take(pa.array(places)).append_column(RANK, pa.array(ranks))


def _taken(rows: pa.Table, places: pa.Table) -> pa.Table:
    """Of rows those with the `n` of `places`, in that order, and with its `RANK`."""
    have, want = rows.column("n").to_numpy(), places.column("n").to_numpy()
    if not len(want):
        return rows.slice(0, 0).append_column(RANK, places.column(RANK))
    least, span = int(have.min()), int(have.max()) - int(have.min()) + 1
    if span <= 8 * len(have):
        place = np.empty(span, np.int64)
        place[have - least] = np.arange(len(have))
        found = rows.take(pa.array(place[want - least]))
    else:
        order = np.argsort(have, kind="stable")
        found = rows.take(pa.array(order[np.searchsorted(have, want, sorter=order)]))
    return found.append_column(RANK, places.column(RANK))


def _columns_in(order: str) -> set[str]:
    return set(re.findall(r"\bc\d+\b", order))


@dataclass(slots=True)
class WindowTop:
    """Of each of `keys` (names) and window the first `most` rows by `order`, when the window is over. The value of the window
    is column `window`; `end` is when it is over and `stamp` the time that its rows get, both over ``w``."""

    buffer: Buffer
    keys: Sequence[str]
    window: str
    end: str
    stamp: str
    order: str
    most: int
    _size: int | None = None

    @property
    def needed(self) -> set[str]:
        """The columns that it looks at."""
        return {*self.keys, self.window} | _columns_in(self.order)

    @property
    def tables(self) -> Mapping[str, Shape]:
        return {self.buffer.table: self.buffer.shape}

    def step(self, work: Work) -> pa.Table | None:
        table, at = self.buffer.table, work.at[0]
        if self._size is None:
            self._size = work.value(f"SELECT count(*) FROM {table}") or 0
        fresh = self.buffer.numbered(work, work.fresh[0])
        if fresh is not None:
            typed = ", ".join(f"CAST({name} AS {duck}) AS {name}" for name, duck in self.buffer.shape)
            fresh = self._first(work, f"SELECT {typed} FROM rows", rows=fresh).drop_columns([RANK])
        due = "FALSE" if at is None else "TRUE" if at >= END else f"{self._over(self.end)} <= {before(at)}"
        every = f"SELECT * FROM {table}"
        tables = {}
        if fresh is not None:
            every, tables = f"{every} UNION ALL SELECT * FROM fresh", {"fresh": fresh}
        made = self._first(work, f"SELECT * FROM ({every}) WHERE {due}", **tables)
        if len(made):
            work.delete(table, due)
        if fresh is not None:
            work.insert(table, work.table(f"SELECT * FROM fresh WHERE NOT ({due})", fresh=fresh))
            self._size += len(fresh)
        if self._size > COMPACT_ROWS_MIN:
            kept = self._first(work, f"SELECT * FROM ({every}) WHERE NOT ({due})", **tables)
            work.delete(table, "TRUE")
            work.insert(table, kept.drop_columns([RANK]))
            self._size = 0  # what could not be shrunk is no reason to try again at once
        if not len(made):
            return None
        return work.table(
            f"SELECT * EXCLUDE (n, rt), {self._over(self.stamp)} AS rt FROM made ORDER BY rt, {self.window}, {RANK}",
            made=made,
        )

    def _over(self, expression: str) -> str:
        return expression.replace("CAST(w ", f"CAST({self.window} ") if expression != "w" else self.window

    def _first(self, work: Work, source: str, **tables: pa.Table) -> pa.Table:
        by = ", ".join([*self.keys, self.window])
        return work.table(
            f"SELECT *, row_number() OVER (PARTITION BY {by} ORDER BY {self.order}) AS {RANK} FROM ({source}) "
            f"QUALIFY {RANK} <= {self.most}",
            **tables,
        )

    def frontier(self, work: Work) -> int | None:
        return work.at[0]

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        sql = f"SELECT epoch_ms(CAST(min({self._over(self.end)}) AS TIMESTAMP)) FROM {self.buffer.table}"
        ((first,),) = connection.execute(sql).fetchall()
        return first


@dataclass(slots=True)
class First:
    """The rows before which, for `length_ms`, none of the same keys was. `seen` has (keys, ``rt``) of the last of each."""

    buffer: Buffer
    keys: Sequence[str]
    seen: str
    length_ms: int

    @property
    def needed(self) -> set[str]:
        """The columns that it looks at."""
        return set(self.keys)

    @property
    def tables(self) -> Mapping[str, Shape]:
        kinds = dict(self.buffer.columns)
        return {
            self.buffer.table: self.buffer.shape,
            self.seen: (*((key, kinds[key]) for key in self.keys), ("rt", "TIMESTAMP_MS")),
        }

    def step(self, work: Work) -> pa.Table | None:
        rows, at = self.buffer.release(work), work.at[0]
        over = "FALSE" if at is None else f"rt + to_milliseconds({self.length_ms}) < {before(at)}"
        if rows is None:
            if at is not None:
                work.delete(self.seen, over)
            return None
        keys = ", ".join(self.keys)
        names = ", ".join(name for name, _ in self.buffer.columns)
        same = " AND ".join(f"{{}}.{key} IS NOT DISTINCT FROM {{}}.{key}" for key in self.keys) or "TRUE"
        touched = work.table(f"SELECT DISTINCT {keys or '0'} FROM released", released=rows)
        before_it = "PARTITION BY " + keys if keys else ""
        every = f"""SELECT {", ".join(["rt", "0 AS n", "FALSE AS fresh", *_named(self.buffer.columns, self.keys)])}
            FROM {self.seen} AS old SEMI JOIN touched ON {same.format(*("old", "touched") * len(self.keys))}
            UNION ALL SELECT rt, n, TRUE, {names} FROM released"""
        made = work.table(
            f"""SELECT rt, {names}, 1::BIGINT AS {RANK} FROM (
                SELECT *, lag(rt) OVER ({before_it} ORDER BY fresh, rt, n) AS last FROM ({every}))
            WHERE fresh AND (last IS NULL OR rt > last + to_milliseconds({self.length_ms})) ORDER BY rt, n""",
            released=rows,
            touched=touched,
        )
        last = work.table(
            f"SELECT {keys}{', ' if keys else ''}max(rt) AS rt FROM released {'GROUP BY ' + keys if keys else ''}",
            released=rows,
        )
        condition = same.format(*(self.seen, "added") * len(self.keys))
        work.changes.append(Change(f"DELETE FROM {self.seen} USING added WHERE {condition}", last))
        work.insert(self.seen, last)
        work.delete(self.seen, over)
        return made

    def frontier(self, work: Work) -> int | None:
        return work.at[0]

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        return self.buffer.waiting_ms(connection)


def _named(columns: Shape, keys: Sequence[str]) -> list[str]:
    return [name if name in keys else f"CAST(NULL AS {duck}) AS {name}" for name, duck in columns]
