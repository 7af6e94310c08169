"""From the rows of a batch to partial rows of their groups, as `analytics.partials` says in SQL, but over Arrow.

What is taken over: keys that are whole numbers, times and texts; COUNT, and SUM, MIN and MAX of whole numbers, MIN and MAX of
times and texts; and the different values of such columns. A sum beyond 64 bits is left to DuckDB.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from analytics.numbering import (
    Codes,
    Groups,
    apart,
    as_numbers,
    coded,
    different,
    grouped,
    in_runs,
    starts_of,
    together,
)
from analytics.partials import Partials
from analytics.spans import Left

_AGGREGATE = re.compile(r"(count|sum|min|max)\((\*|x\d+)\)")
_KINDS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "VARCHAR", "DATE", "TIMESTAMP_MS")
_EXACT = 1 << 53
"""Below it a float64 holds every whole number."""


@dataclass(frozen=True, slots=True)
class Fold:
    """`keys` and `names`, all columns of the state, by name; `aggregates` are (name, function, column, or ``*``); `values` is
    how many columns ``d1``, … of different values there are."""

    keys: Sequence[str]
    names: Sequence[str]
    aggregates: Sequence[tuple[str, str, str]]
    values: int

    def partial(self, rows: pa.Table) -> pa.Table:
        """The partial rows, of ``w``, the keys and the state. Raises `Left` for what DuckDB has to do."""
        if not len(rows):
            return rows
        rows = rows.combine_chunks()
        columns = {name: rows.column(name).chunk(0) for name in rows.column_names}
        codes = [in_runs(columns["w"]), *(coded(columns[name]) for name in self.keys)]
        keyed = together(codes)
        groups = grouped(keyed)
        parts = [self._aggregated(columns, groups, apart(codes, groups.numbers))]
        for number in range(1, self.values + 1):
            parts.append(self._different(number, columns, codes, keyed))
        if len(parts) == 1:
            return pa.table({name: parts[0][name] for name in ("w", *self.keys, *self.names)})
        return pa.table({name: _joined(name, parts) for name in ("w", *self.keys, *self.names)})

    def merged(self, parts: Sequence[pa.Table]) -> pa.Table:
        """Partial rows without different values, some at least, as one row a group, in the order of window and keys. Raises
        `Left` for what DuckDB has to do."""
        rows = _alike(parts, [name for name, function, _ in self.aggregates if function == "sum"])
        columns = {name: rows.column(name).chunk(0) for name in rows.column_names}
        codes = [in_runs(columns["w"]), *(coded(columns[name], ordered=True) for name in self.keys)]
        groups = grouped(together(codes))
        made = dict(zip(("w", *self.keys), apart(codes, groups.numbers), strict=True))
        for name, function, _ in self.aggregates:
            made[name] = _aggregate("sum" if function == "count" else function, columns[name], groups)
        return pa.table(made)

    def _aggregated(
        self, columns: dict[str, pa.Array], groups: Groups, keys: Sequence[pa.Array]
    ) -> dict[str, pa.Array]:
        made = dict(zip(("w", *self.keys), keys, strict=True))
        for name, function, column in self.aggregates:
            made[name] = _aggregate(function, None if column == "*" else columns[column], groups)
        if self.values:
            made["g"] = pa.array(np.zeros(len(groups.found), np.int8))
        return made

    def _different(
        self, number: int, columns: dict[str, pa.Array], codes: Sequence[Codes], keyed: Codes
    ) -> dict[str, pa.Array]:
        """A row for each value of each group, with the bits of all its rows."""
        column, bits = columns[f"d{number}"], columns[f"m{number}"]
        given = column.is_valid().to_numpy(zero_copy_only=False) if column.null_count else None
        value = coded(column)
        pairs = together([keyed, value])
        masks = as_numbers(bits)
        width = int(masks.max()).bit_length()
        if pairs.span >= 1 << (63 - width):
            raise Left
        marked = (pairs.codes << width) | masks
        marked = different(marked if given is None else marked[given], pairs.span << width)
        starts = starts_of(marked >> width)
        made = dict(zip(("w", *self.keys, f"d{number}"), apart([*codes, value], marked[starts] >> width), strict=True))
        made["m"] = pa.array(np.bitwise_or.reduceat(marked & ((1 << width) - 1), starts))
        made["g"] = pa.array(np.full(len(starts), number, np.int8))
        return made


def fold_of(partials: Partials) -> Fold | None:
    """None for aggregates that are for DuckDB."""
    if partials.kept or partials.numbered or any(duck not in _KINDS for _, duck in (*partials.keys, *partials.state)):
        return None
    aggregates = []
    for name, part in partials.stored:
        found = _AGGREGATE.fullmatch(part.compute)
        if found is None:
            return None
        aggregates.append((name, found[1], found[2]))
    keys = [name for name, _ in partials.keys]
    return Fold(keys, [name for name, _ in partials.state], aggregates, partials.values)


def _alike(parts: Sequence[pa.Table], sums: Sequence[str]) -> pa.Table:
    """Tables as one, in one chunk. Arrow has no HUGEINT, and sums come as decimals: they become whole numbers. Raises `Left`
    where they are too large."""
    (first, *_) = parts
    fields = [pa.field(each.name, pa.int64() if each.name in sums else each.type) for each in first.schema]
    try:
        return pa.concat_tables([part.cast(pa.schema(fields)) for part in parts]).combine_chunks()
    except pa.ArrowInvalid:
        raise Left from None


def _joined(name: str, parts: Sequence[dict[str, pa.Array]]) -> pa.Array:
    """A column of several tables, NULL in those that have none."""
    kind = next(part[name].type for part in parts if name in part)
    return pa.concat_arrays([part[name] if name in part else pa.nulls(len(part["g"]), kind) for part in parts])


def _aggregate(function: str, column: pa.Array | None, groups: Groups) -> pa.Array:
    ids, missing = groups.ids, None
    if column is not None and column.null_count:
        given = column.is_valid().to_numpy(zero_copy_only=False)
        ids, column = ids[given], column.drop_null()
        missing = np.bincount(ids, minlength=groups.size)[groups.found] == 0
    if function == "count" or column is None:
        return pa.array(np.bincount(ids, minlength=groups.size)[groups.found])
    if function == "sum":
        return pa.array(_summed(column, ids, groups)[groups.found], mask=missing)
    values = coded(column, ordered=True)
    best = np.full(groups.size, values.span if function == "min" else -1)
    (np.minimum if function == "min" else np.maximum).at(best, ids, values.codes)
    found = best[groups.found]
    return values.values(found) if missing is None else _where(values, found, missing)


def _where(values: Codes, found: np.ndarray, missing: np.ndarray) -> pa.Array:
    """The values of codes, NULL where they are `missing`."""
    made = values.values(found[~missing])
    places = np.cumsum(~missing) - 1
    return made.take(pa.array(places, mask=missing))


def _summed(column: pa.Array, ids: np.ndarray, groups: Groups) -> np.ndarray:
    if not pa.types.is_integer(column.type):
        raise Left
    values = column.to_numpy()
    largest = max(abs(int(values.min())), abs(int(values.max()))) * len(values) if len(values) else 0
    if largest < _EXACT:
        return np.bincount(ids, values, minlength=groups.size).astype(np.int64)
    if largest >= 1 << 63:
        raise Left
    sums = np.zeros(groups.size, np.int64)
    np.add.at(sums, ids, values)
    return sums
