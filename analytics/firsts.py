"""The first rows of each key by an order, over Arrow: key, order and row become one number, and numbers are sorted."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from analytics.numbering import Codes, coded, starts_of, together
from analytics.spans import Left

_BITS = 63
_TERM = re.compile(r"(\w+)( DESC)?( NULLS LAST)?")

Order = Sequence[tuple[str, bool]]
"""Columns, and whether the greatest comes first. NULL comes last in either."""

LATEST: Order = (("rt", True), ("n", True))


def order_of(sql: str) -> Order:
    """Of what stands behind ORDER BY, with columns alone. The last one is ``n``."""
    terms = [_TERM.fullmatch(term) for term in sql.split(", ")]
    return [(term[1], term[2] is not None) for term in terms if term is not None]


def first_rows(rows: pa.Table, keys: Sequence[str], order: Order, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each key the places of its first `most` rows, and their numbers from 1 on. Raises `Left` for values that are no whole
    numbers, times or texts, or lie too far apart."""
    count = len(rows)
    *before, (_, last) = order
    places = _in_turn(rows)
    if before and before[-1] == ("rt", last):
        before.pop()
        places = _by_time(rows, places)
    ranks = np.empty(count, np.int64)
    ranks[places] = np.arange(count)[::-1] if last else np.arange(count)
    bits = max(1, (count - 1).bit_length())
    by = [_coded(rows, name, descending) for name, descending in before]
    key = together([coded(_column(rows, name)) for name in keys])
    numbers = together([key, *by])
    if numbers.span >= 1 << (_BITS - bits):
        raise Left
    in_order = np.sort((numbers.codes << bits) | ranks)
    of_row = (in_order >> bits) // (numbers.span // key.span)
    starts = starts_of(of_row)
    within = np.arange(count) - np.repeat(starts, np.diff(np.append(starts, count)))
    first = within < most
    found = in_order[first] & ((1 << bits) - 1)
    return places[count - 1 - found if last else found], within[first] + 1


def _in_turn(rows: pa.Table) -> np.ndarray:
    """The places of rows by their numbers, which mostly grow from row to row."""
    numbers = rows.column("n").to_numpy()
    return np.argsort(numbers) if np.any(numbers[1:] < numbers[:-1]) else np.arange(len(rows))


def _by_time(rows: pa.Table, in_turn: np.ndarray) -> np.ndarray:
    """The places of rows by their time, those of one time by their numbers. Raises `Left`."""
    times = _coded(rows, "rt", descending=False)
    bits = max(1, (len(rows) - 1).bit_length())
    if times.span >= 1 << (_BITS - bits):
        raise Left
    in_order = np.sort((times.codes[in_turn] << bits) | np.arange(len(rows)))
    return in_turn[in_order & ((1 << bits) - 1)]


def _coded(rows: pa.Table, name: str, descending: bool) -> Codes:
    column = _column(rows, name)
    found = coded(column, ordered=True)
    if not descending:
        return found
    last = found.span - (2 if column.null_count else 1)
    return Codes(np.where(found.codes > last, found.codes, last - found.codes), found.span, found.values)


def _column(rows: pa.Table, name: str) -> pa.Array:
    column = rows.column(name)
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
