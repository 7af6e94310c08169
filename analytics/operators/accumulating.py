"""GROUP BY into a table: the aggregates of each group so far, which come out again whenever rows have changed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from analytics.operators.buffer import Buffer
from analytics.operators.retention import Retention
from analytics.operators.work import Change, Shape, Work

GONE = "gone"
"""The column of what an operator of a table gives: whether the group of the row is no more."""


@dataclass(frozen=True, slots=True)
class Part:
    """A partial aggregate: `compute` over rows, `merge` over its values before (``fresh`` false) and now, in one type."""

    name: str
    compute: str
    merge: str
    duck: str


@dataclass(slots=True)
class Updating:
    """What operators of tables share: `kept` has the rows of each key for as long as `retention` says."""

    buffer: Buffer
    retention: Retention
    kept: str

    def __post_init__(self) -> None:
        self.buffer.also = (self.retention.table,)

    @property
    def shape(self) -> Shape:
        """Of `kept`."""
        raise NotImplementedError

    @property
    def tables(self) -> Mapping[str, Shape]:
        return {
            self.buffer.table: self.buffer.shape,
            self.retention.table: self.retention.shape,
            self.kept: self.shape,
        }

    def forget(self, work: Work, keys: pa.Table) -> None:
        """Nothing stays of what is kept of these keys."""
        if len(keys):
            of_key = self.retention.same(self.kept, "added")
            work.changes.append(Change(f"DELETE FROM {self.kept} USING added WHERE {of_key}", keys))

    def replace(self, work: Work, changed: pa.Table, gone: pa.Table, rows: pa.Table) -> None:
        """`rows` take the place of what is kept of the keys that have `changed`; of those that are `gone` nothing stays."""
        keys = [name for name, _ in self.retention.keys]
        self.forget(work, pa.concat_tables([changed.select(keys), gone]))
        work.insert(self.kept, rows)

    def frontier(self, work: Work) -> int | None:
        return work.at[0]

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        ends = (self.buffer.waiting_ms(connection), self.retention.waiting_ms(connection))
        return min((end for end in ends if end is not None), default=None)


@dataclass(slots=True)
class Accumulating(Updating):
    """`kept` has the keys and the parts of each group."""

    parts: Sequence[Part]

    @property
    def shape(self) -> Shape:
        return (*self.retention.keys, *((part.name, part.duck) for part in self.parts))

    def step(self, work: Work) -> pa.Table | None:
        judged = self.retention.judge(work, self.buffer.release(work))
        if judged is None:
            return None
        names, same = self.retention.names, self.retention.same
        parts = "".join(f", {part.name}" for part in self.parts)
        computed = "".join(f", CAST({part.compute} AS {part.duck}) AS {part.name}" for part in self.parts)
        merged = "".join(f", CAST({part.merge} AS {part.duck}) AS {part.name}" for part in self.parts)
        every = f"""SELECT {names}, FALSE AS fresh{parts} FROM {self.kept} AS old SEMI JOIN last ON {same("old", "last")}
                ANTI JOIN anew ON {same("old", "anew")}
            UNION ALL SELECT {names}, TRUE{computed} FROM rows GROUP BY {names}"""
        now = work.table(
            f"SELECT groups.*, last.rt FROM (SELECT {names}{merged} FROM ({every}) GROUP BY {names}) AS groups "
            f"JOIN last ON {same('groups', 'last')}",
            rows=judged.rows,
            last=judged.last,
            anew=judged.anew,
        )
        self.replace(work, now, judged.gone, now.drop_columns(["rt"]))
        return work.table(
            f"SELECT rt, {names}{parts}, FALSE AS {GONE} FROM now UNION ALL BY NAME SELECT {names}, TRUE AS {GONE} FROM gone",
            now=now,
            gone=judged.gone,
        )
