"""Sliding windows that go on row by row, for few partitions: a batch costs as much as its own rows, however many a frame has.

Beside the table of rows that a later frame reaches, which is the state, the process remembers for each partition the times
of these rows and running totals over them; a frame's sum is the difference of two. The least and the greatest are at the end
of a queue of those that no later row outdoes. All of it is found again in the table after a restart. Where there are many
partitions, a query over all of them is faster: then the operator does as `Sliding` does, and forgets what it remembered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analytics.operators.sliding import Frame, Sliding
from analytics.operators.work import END, Work

PARTITIONS_MAX = 200
"""Partitions of a frame: each costs a batch some hundred microseconds, with five functions; a query, half a microsecond for
each row that the frame reaches, in all partitions together."""

_LOW = (1 << 32) - 1
_WIDE = pa.decimal128(38, 0)


@dataclass(frozen=True, slots=True)
class Function:
    """COUNT, SUM, AVG (of whole numbers), MIN or MAX of a column, or of rows (None), over the frame of a number."""

    kind: str
    column: str | None
    frame: int
    wide: bool = False
    """Whether a sum may go beyond 64 bits: then it is DECIMAL(38,0)."""


class _Totals:
    """Running totals: element j is the sum of all rows before row j of those that are remembered, plus some constant. Whole
    numbers go round at 64 bits, which no difference sees."""

    def __init__(self) -> None:
        self.sums = np.zeros(1, np.int64)

    def append(self, values: np.ndarray) -> None:
        self.sums = np.concatenate([self.sums, self.sums[-1] + np.cumsum(values, dtype=np.int64)])

    def between(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        return self.sums[ends] - self.sums[starts]


@dataclass(slots=True)
class _Values:
    """A column of a batch in the forms that functions want, each made once: looking into Arrow costs more than the sums do."""

    column: pa.ChunkedArray
    valid: np.ndarray
    highs: np.ndarray | None = None
    lows: np.ndarray | None = None
    objects: list[object] | None = None

    @classmethod
    def of(cls, column: pa.ChunkedArray, kinds: set[str]) -> _Values:
        found = cls(column, column.is_valid().to_numpy().astype(np.int64))
        if kinds & {"SUM", "AVG"}:
            numbers = column.cast(pa.int64()).fill_null(0).to_numpy()
            found.highs, found.lows = numbers >> 32, numbers & _LOW
        if kinds & {"MIN", "MAX"}:
            # Times are compared and given back as the numbers that they are.
            plain = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
            found.objects = plain.to_pylist()
        return found


@dataclass(slots=True)
class _Partition:
    """`first` is the number of the first row that is remembered; queues hold (number of the row, value)."""

    first: int = 0
    times: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    counts: dict[str, _Totals] = field(default_factory=dict)
    highs: dict[str, _Totals] = field(default_factory=dict)
    lows: dict[str, _Totals] = field(default_factory=dict)
    queues: dict[int, deque[tuple[int, Any]]] = field(default_factory=dict)

    def forget(self, count: int) -> None:
        """The first rows."""
        if count == 0:
            return
        self.first += count
        self.times = self.times[count:]
        for totals in (*self.counts.values(), *self.highs.values(), *self.lows.values()):
            totals.sums = totals.sums[count:]


@dataclass(slots=True)
class RunningSliding(Sliding):
    """`functions` are what `results` say, in their order."""

    functions: Sequence[Function] = ()
    _partitions: dict[tuple[str, ...], dict[tuple[object, ...], _Partition]] | None = None
    _many: bool = False

    def computed(self, work: Work, rows: pa.Table) -> pa.Table:
        if self._many:
            return Sliding.computed(self, work, rows)
        if self._partitions is None:
            self._partitions = {frame.partition: {} for frame in self.frames}
            known = work.table(f"SELECT * FROM {self.kept} ORDER BY rt, n")
            if len(known):
                self._run(known)
        made = None if self._many else self._run(rows)
        if made is None:
            self._partitions, self._many = None, True
            return Sliding.computed(self, work, rows)
        at = work.at[0]
        assert at is not None, "rows were released"
        self._forget(at)
        names = ["rt", *(name for name, _ in self.buffer.columns)]
        result = rows.select(names)
        for (name, _), column in zip(self.results, made, strict=True):
            result = result.append_column(name, column)
        return result

    def _run(self, rows: pa.Table) -> list[pa.Array] | None:
        """The results for rows that come after all others; None if there are too many partitions, or values that have no
        order."""
        assert self._partitions is not None, "it has been looked for"
        rows = rows.combine_chunks()
        times = rows.column("rt").cast(pa.timestamp("ms")).cast(pa.int64()).to_numpy()
        columns = {each.column: rows.column(each.column) for each in self.functions if each.column is not None}
        if any(pa.types.is_floating(c.type) and pc.any(pc.is_nan(c)).as_py() for c in columns.values()):
            return None
        made: list[pa.Array | None] = [None] * len(self.functions)
        for by, known in self._partitions.items():
            groups = _groups(rows, by, PARTITIONS_MAX)
            if groups is None or len(known.keys() | groups.keys()) > PARTITIONS_MAX:
                return None
            frames = [number for number, frame in enumerate(self.frames) if frame.partition == by]
            mine = [(i, each) for i, each in enumerate(self.functions) if self.frames[each.frame].partition == by]
            given = {
                name: _Values.of(columns[name], {each.kind for _, each in mine if each.column == name})
                for name in dict.fromkeys(each.column for _, each in mine)
                if name is not None
            }
            results = [_Result(each, len(rows)) for _, each in mine]
            for key, places in groups.items():
                partition = known.setdefault(key, _Partition())
                _append(partition, times[places], given, places)
                bounds = {frame: _bounds(partition, self.frames[frame], len(places)) for frame in frames}
                for (number, each), result in zip(mine, results, strict=True):
                    _go_on(partition, number, each, bounds[each.frame], places, given, result)
            for (number, each), result in zip(mine, results, strict=True):
                made[number] = result.array(None if each.column is None else columns[each.column].type)
        return [each for each in made if each is not None]

    def _forget(self, at: int) -> None:
        """Rows that no later frame reaches."""
        assert self._partitions is not None, "it has just been used"
        for by, known in self._partitions.items():
            frames = [frame for frame in self.frames if frame.partition == by]
            for key, partition in list(known.items()):
                count = len(partition.times)
                keep = [count]
                for frame in frames:
                    if frame.rows is not None:
                        keep.append(max(0, count - frame.rows))
                    elif at < END:
                        keep.append(int(np.searchsorted(partition.times, at - (frame.range_ms or 0))))
                partition.forget(min(keep))
                if not len(partition.times):
                    del known[key]


class _Result:
    """The values of one function for all rows of a batch."""

    def __init__(self, function: Function, count: int) -> None:
        self.function = function
        self.numbers = np.zeros(count, np.int64)
        self.valid = np.ones(count, bool)
        self.objects: list[object] = [None] * (count if function.kind in ("MIN", "MAX") else 0)
        self.beyond: dict[int, int] = {}

    def array(self, kind: pa.DataType | None) -> pa.Array:
        if self.function.kind in ("MIN", "MAX"):
            assert kind is not None, "it is of a column"
            return pa.array(self.objects, kind)
        numbers = pa.array(self.numbers, mask=~self.valid)
        if not self.function.wide:
            return numbers
        if self.beyond:
            numbers = pa.array([self.beyond.get(i, number) for i, number in enumerate(numbers.to_pylist())], _WIDE)
        return numbers.cast(_WIDE)


def _append(partition: _Partition, times: np.ndarray, given: dict[str, _Values], places: np.ndarray) -> None:
    partition.times = np.concatenate([partition.times, times])
    for name, values in given.items():
        partition.counts.setdefault(name, _Totals()).append(values.valid[places])
        if values.highs is not None and values.lows is not None:
            partition.highs.setdefault(name, _Totals()).append(values.highs[places])
            partition.lows.setdefault(name, _Totals()).append(values.lows[places])


def _bounds(partition: _Partition, frame: Frame, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the last rows of a partition the first row of the frame, and the row itself."""
    ends = np.arange(len(partition.times) - count, len(partition.times))
    if frame.rows is not None:
        return np.maximum(0, ends - frame.rows), ends
    return np.searchsorted(partition.times, partition.times[ends] - (frame.range_ms or 0)), ends


def _go_on(
    partition: _Partition,
    number: int,
    function: Function,
    bounds: tuple[np.ndarray, np.ndarray],
    places: np.ndarray,
    given: dict[str, _Values],
    result: _Result,
) -> None:
    """The results for the last rows of a partition, which stand at `places` of the batch."""
    starts, ends = bounds
    name = function.column
    if name is None:
        result.numbers[places] = ends + 1 - starts
        return
    if function.kind in ("MIN", "MAX"):
        queue, objects = partition.queues.setdefault(number, deque()), given[name].objects
        assert objects is not None, "they were made for this function"
        least, into = function.kind == "MIN", result.objects
        for place, start, end in zip(
            places.tolist(), (partition.first + starts).tolist(), (partition.first + ends).tolist(), strict=True
        ):
            value: Any = objects[place]
            if value is not None:
                while queue and (queue[-1][1] >= value if least else queue[-1][1] <= value):
                    queue.pop()
                queue.append((end, value))
            while queue and queue[0][0] < start:
                queue.popleft()
            into[place] = queue[0][1] if queue else None
        return
    counts = partition.counts[name].between(starts, ends + 1)
    if function.kind == "COUNT":
        result.numbers[places] = counts
        return
    highs = partition.highs[name].between(starts, ends + 1)
    lows = partition.lows[name].between(starts, ends + 1)
    highs, lows = highs + (lows >> 32), lows & _LOW
    result.valid[places] = counts > 0
    fits = (highs >= -(1 << 31)) & (highs < 1 << 31)
    sums = (highs << 32) | lows
    if function.kind == "AVG":
        divisors = np.maximum(counts, 1)
        quotients = np.abs(sums) // divisors * np.sign(sums)
        # The least number of 64 bits has no positive one; sums beyond 64 bits have a mean all the same.
        for index in np.flatnonzero(~fits | (sums == np.iinfo(np.int64).min)).tolist():
            whole = (int(highs[index]) << 32) + int(lows[index])
            quotients[index] = abs(whole) // int(divisors[index]) * (1 if whole >= 0 else -1)
        result.numbers[places] = quotients
        return
    result.numbers[places] = sums
    for index in np.flatnonzero(~fits & (counts > 0)).tolist():
        result.beyond[int(places[index])] = (int(highs[index]) << 32) + int(lows[index])


def _groups(rows: pa.Table, by: Sequence[str], most: int) -> dict[tuple[object, ...], np.ndarray] | None:
    """The places of the rows of each partition, by its key; None if there are more than `most`."""
    if not by:
        return {(): np.arange(len(rows))}
    codes = np.zeros(len(rows), np.int64)
    for name in by:
        encoded = rows.column(name).combine_chunks().dictionary_encode("encode")
        if len(encoded.dictionary) > most:
            return None
        codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy(zero_copy_only=False)
        codes = np.unique(codes, return_inverse=True)[1]
    _, firsts, inverse = np.unique(codes, return_index=True, return_inverse=True)
    if len(firsts) > most:
        return None
    keys = list(zip(*(rows.column(name).take(pa.array(firsts)).to_pylist() for name in by), strict=True))
    order = np.argsort(inverse, kind="stable")
    bounds = np.searchsorted(inverse[order], np.arange(len(firsts) + 1))
    return {key: order[bounds[i] : bounds[i + 1]] for i, key in enumerate(keys)}
