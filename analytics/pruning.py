"""Columns that nobody reads are not kept: `SELECT *` in a subquery that numbers rows names all, and its reader few.

What a statement reads of its stream is found in its text, where every column stands behind the alias t0; text in quotes
can only make that more. A column whose computing can fail is left, for a row that fails becomes a fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from analytics.operators.top import First, Top, WindowTop
from analytics.plan import Pump, RowQuery
from analytics.relation import Relation

_READ = re.compile(r'\b(?:t0|"t0")\b(?:\."?(\w+)"?)?')
_PLAIN = re.compile(r'"?t0"?\."?\w+"?')


def prune(pumps: Sequence[Pump], inputs: Iterable[Relation]) -> list[Pump]:
    """The pumps without such columns; of the inputs, `used` becomes what the pumps read."""
    found = list(pumps)
    # From the end: what an operator does not keep, the pump before it need not compute.
    for number in reversed(range(len(found))):
        operator = found[number].operator
        if isinstance(operator, Top | WindowTop | First):
            _narrow(found, number, operator)
    for relation in inputs:
        read = _read_of(found, relation.physical)
        if read is not None:
            relation.used &= read
    return found


def _narrow(pumps: list[Pump], number: int, operator: Top | WindowTop | First) -> None:
    pump = pumps[number]
    read = _read_of(pumps, pump.target)
    before = [i for i, each in enumerate(pumps) if each.target == pump.source]
    readers = [each for each in pumps if pump.source in each.sources]
    if read is None or len(before) != 1 or len(readers) != 1:
        return
    rows = pumps[before[0]].rows
    if rows is None or pumps[before[0]].window is not None:
        return
    computed: Mapping[str, str] = dict(rows.columns)
    needed = read | operator.needed
    gone = {
        name for name, _ in operator.buffer.columns if name not in needed and _PLAIN.fullmatch(computed.get(name, ""))
    }
    operator.buffer.columns = tuple(each for each in operator.buffer.columns if each[0] not in gone)
    kept = tuple(each for each in rows.columns if each[0] not in gone)
    pumps[before[0]] = replace(pumps[before[0]], rows=replace(rows, columns=kept))


def _read_of(pumps: Sequence[Pump], stream: str) -> set[str] | None:
    """The columns of a stream that the pumps read; None where an operator or a whole row may read all."""
    read: set[str] = set()
    for pump in pumps:
        if stream not in pump.sources:
            continue
        if pump.rows is None:
            return None
        for column in _READ.findall(_text(pump.rows)):
            if not column:
                return None
            read.add(column)
    return read


def _text(rows: RowQuery) -> str:
    return " ".join([*(sql for _, sql in rows.columns), rows.joins, rows.condition or ""])
