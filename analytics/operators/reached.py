"""How far a time has come that an operator reckons by itself: one number, which its table keeps."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from analytics.operators.work import Shape, Work

SHAPE: Shape = (("ms", "BIGINT"),)


@dataclass(slots=True)
class Reached:
    """`ms` is the greatest time so far, in milliseconds; None before the first. Nothing is known before `know`."""

    table: str
    ms: int | None = None
    _known: bool = False

    def know(self, work: Work) -> None:
        """Reads the table, once."""
        if not self._known:
            self.ms, self._known = work.value(f"SELECT max(ms) FROM {self.table}"), True

    def come(self, work: Work, ms: int | None) -> None:
        """Time has come as far as `ms`, if it was not further before."""
        if ms is not None and (self.ms is None or ms > self.ms):
            self.ms = ms
            work.delete(self.table, "TRUE")
            work.insert(self.table, pa.table({"ms": pa.array([ms])}))
