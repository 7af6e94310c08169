"""Models that learn from a stream row by row, and say something of each row: what they have learnt is part of the state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import duckdb
import numpy as np
import pyarrow as pa

from analytics.operators.buffer import Buffer
from analytics.operators.work import Shape, Work


class Model(Protocol):
    """`results` are the columns that it adds."""

    @property
    def results(self) -> Shape: ...

    def load(self, state: bytes) -> None: ...

    def dump(self) -> bytes: ...

    def learn(self, points: np.ndarray) -> list[pa.Array]:
        """`points` are rows of DOUBLE, NaN where a value is NULL. One array for each result."""
        ...


@dataclass(slots=True)
class Learning:
    """`inputs` are the names of the numeric columns that the model sees, `memory` the table of what it has learnt."""

    buffer: Buffer
    inputs: Sequence[str]
    model: Model
    memory: str
    _loaded: bool = False

    @property
    def tables(self) -> Mapping[str, Shape]:
        return {self.buffer.table: self.buffer.shape, self.memory: (("model", "BLOB"),)}

    def step(self, work: Work) -> pa.Table | None:
        if not self._loaded:
            for (state,) in work.connection.execute(f"SELECT model FROM {self.memory}").fetchall():
                self.model.load(state)
            self._loaded = True
        rows = self.buffer.release(work)
        if rows is None:
            return None
        listed = ", ".join(f"coalesce(CAST({name} AS DOUBLE), 'nan'::DOUBLE) AS {name}" for name in self.inputs)
        values = work.table(f"SELECT {listed} FROM released ORDER BY rt, n", released=rows)
        results = self.model.learn(np.column_stack([column.to_numpy() for column in values.columns]))
        made = rows.drop_columns(["n"])
        for number, array in enumerate(results, len(self.buffer.columns)):
            made = made.append_column(f"c{number}", array)
        work.delete(self.memory, "TRUE")
        work.insert(self.memory, pa.table({"model": pa.array([self.model.dump()], pa.binary())}))
        return made

    def frontier(self, work: Work) -> int | None:
        return work.at[0]

    def waiting_ms(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        return self.buffer.waiting_ms(connection)
