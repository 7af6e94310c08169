"""What is kept of groups until their window is over, and how it becomes their aggregates.

A partial row has the window (``w``), the keys (``k0`` …) and partial results (``a0`` …); the rows of one group are merged as
often as one likes. Aggregates of different values, as COUNT(DISTINCT x), are merged too: beside the row of a group
(``g`` = 0) there is one for each value of x (``g`` from 1, the value in ``d1``, …), in which ``m`` tells for which
aggregates it counts, a bit each: COUNT(DISTINCT x) and COUNT(DISTINCT CASE WHEN … THEN x END) share their values.

Where some aggregate cannot be merged, the rows themselves are kept, with their arguments (``x0`` …) and their order ``o``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from analytics.aggregates import Aggregate, Partial, is_distinct, plan
from analytics.expressions import Expressions
from analytics.operators.work import Shape
from analytics.types import family, of_duck

MASK_BITS = 60
"""Aggregates that share their different values: what a BIGINT has bits for."""

_ORDER = "CAST(epoch_ms(CAST(rt AS TIMESTAMP)) AS HUGEINT) * 18446744073709551616 + n"
"""Rows by time, and of one time, by their number."""


@dataclass(slots=True)
class Values:
    """Different values of one expression, and the conditions under which they count, a bit each."""

    tree: exp.Expr
    conditions: list[exp.Expr | None] = field(default_factory=list)

    def bit(self, condition: exp.Expr | None) -> int:
        if condition not in self.conditions:
            self.conditions.append(condition)
        return self.conditions.index(condition)


@dataclass(frozen=True, slots=True)
class Partials:
    """`keys` and `state`, the further columns of a partial row, as (name, type). The methods give SQL over ``{source}``;
    `window` are the columns that tell the window. `numbered`: rows have numbers, from ``{base}`` on."""

    keys: Shape
    state: Shape
    results: tuple[tuple[str, str], ...]
    stored: tuple[tuple[str, Partial], ...]
    values: int
    kept: bool
    numbered: bool

    def partial(self, window: Sequence[str], spans: Sequence[str] | None = None) -> str:
        """From rows to partial rows. `spans` are the columns of the window, where `window` only groups."""
        by = [*window, *self._keys]
        shown = [*(window if spans is None else spans), *self._keys]
        source = "{source}"
        if self.numbered:
            numbered = f"SELECT *, row_number() OVER () + {{base}} AS n FROM {source}"
            source = f"(SELECT *, {_ORDER} AS o FROM ({numbered}))"
        if self.kept:
            return f"SELECT {', '.join([*shown, *(name for name, _ in self.state)])} FROM {source}"
        computed = {name: f"CAST({part.compute} AS {part.duck})" for name, part in self.stored}
        if not self.values:
            return f"SELECT {', '.join([*shown, *_listed(computed)])} FROM {source}{_grouped(by)}"
        parts = [self._branch(shown, {"g": "0", **computed}, _grouped(by), "rows_")]
        for number in range(1, self.values + 1):
            value = {"g": str(number), f"d{number}": f"d{number}", "m": f"bit_or(m{number})"}
            seen = f" WHERE d{number} IS NOT NULL{_grouped([*by, f'd{number}'])}"
            parts.append(self._branch(shown, value, seen, "rows_"))
        return f"WITH rows_ AS (SELECT * FROM {source}) {' UNION ALL '.join(parts)}"

    def compact(self, window: Sequence[str]) -> str:
        """From partial rows to fewer partial rows; where rows are kept, the same."""
        by = [*window, *self._keys]
        if self.kept:
            return f"SELECT {', '.join([*by, *(name for name, _ in self.state)])} FROM {{source}}"
        by = self.grouping(window)
        merged = {name: f"CAST({part.merge.format(name)} AS {part.duck})" for name, part in self.stored}
        if self.values:
            merged["m"] = "bit_or(m)"
        names = [name for name, _ in (*self.keys, *self.state)]
        columns = [*window, *(f"{merged[name]} AS {name}" if name in merged else name for name in names)]
        return f"SELECT {', '.join(columns)} FROM {{source}}{_grouped(by)}"

    def grouping(self, window: Sequence[str]) -> list[str]:
        """The columns by which partial rows are one where they are compacted."""
        values = ["g", *(f"d{number}" for number in range(1, self.values + 1))] if self.values else []
        return [*window, *self._keys, *values]

    def merge(self, window: Sequence[str]) -> str:
        """From partial rows to the aggregates of each group: the window, the keys, and the columns of `results`."""
        by = [*window, *self._keys]
        source = f"({self.compact(window)})" if self.values else "{source}"
        listed = [*by, *(f"{sql} AS {name}" for name, sql in self.results)]
        return f"SELECT {', '.join(listed)} FROM {source}{_grouped(by)}"

    @property
    def _keys(self) -> list[str]:
        return [name for name, _ in self.keys]

    def _branch(self, shown: Sequence[str], values: dict[str, str], rest: str, source: str) -> str:
        columns = [f"CAST({values.get(name, 'NULL')} AS {duck}) AS {name}" for name, duck in self.state]
        return f"SELECT {', '.join([*shown, *columns])} FROM {source}{rest}"


@dataclass(frozen=True, slots=True)
class Planned:
    """`columns` (name, SQL) are what rows need for the aggregates; `known` are the aggregates, each with its value over the
    columns of `Partials.merge` under the alias t0."""

    columns: tuple[tuple[str, str], ...]
    partials: Partials
    known: tuple[tuple[exp.Expr, str], ...]


def planned(aggregates: Sequence[exp.Expr], keys: Shape, rows: Expressions) -> Planned:
    """`rows` write the arguments."""
    plans: list[Aggregate] = []
    arguments: list[tuple[str, str, str]] = []
    for number, tree in enumerate(aggregates):
        name = None
        if not isinstance(tree.this, exp.Star):
            name = f"x{number}"
            sql, duck = rows.typed(argument_of(tree))
            arguments.append((name, sql, storable(duck)))
        plans.append(plan(tree, name, rows))
    if any(each.kept for each in plans):
        return _kept(aggregates, plans, arguments, keys)
    return _merged(aggregates, plans, arguments, keys, rows)


def _kept(
    aggregates: Sequence[exp.Expr], plans: Sequence[Aggregate], arguments: Sequence[tuple[str, str, str]], keys: Shape
) -> Planned:
    known: list[tuple[exp.Expr, str]] = []
    results: list[tuple[str, str]] = []
    for tree, each in zip(aggregates, plans, strict=True):
        names = []
        for part in each.partials:
            names.append(_value(f"a{len(results)}", part.duck))
            results.append((f"a{len(results)}", f"CAST({part.compute} AS {part.duck})"))
        known.append((tree, each.final.format(*names)))
    state = (("n", "BIGINT"), ("o", "HUGEINT"), *((name, duck) for name, _, duck in arguments))
    columns = [("rt", "t0.rt"), *((name, sql) for name, sql, _ in arguments)]
    partials = Partials(keys, state, tuple(results), (), 0, kept=True, numbered=True)
    return Planned(tuple(columns), partials, tuple(known))


def _merged(
    aggregates: Sequence[exp.Expr],
    plans: Sequence[Aggregate],
    arguments: Sequence[tuple[str, str, str]],
    keys: Shape,
    rows: Expressions,
) -> Planned:
    values: list[Values] = []
    known: list[tuple[exp.Expr, str]] = []
    results: list[tuple[str, str]] = []
    stored: list[tuple[str, Partial]] = []
    orders: set[str] = set()
    unused: set[str] = set()
    for number, (tree, each) in enumerate(zip(aggregates, plans, strict=True)):
        counted = ""
        if is_distinct(tree):
            group, bit = _valued(argument_of(tree), values)
            counted = f" FILTER (WHERE g = {group} AND (m & {1 << bit}) <> 0)"
            unused.add(f"x{number}")
        names = []
        for part in each.partials:
            name = f"a{len(results)}"
            names.append(_value(name, part.duck))
            if counted:
                over = part.compute.replace(f"DISTINCT x{number}", f"d{group}")
                results.append((name, f"CAST({over}{counted} AS {part.duck})"))
            else:
                stored.append((name, part))
                results.append((name, f"CAST({part.merge.format(name)} AS {part.duck})"))
                orders.add(part.order)
        known.append((tree, each.final.format(*names)))
    columns = [(name, sql) for name, sql, _ in arguments if name not in unused]
    orders.discard("")
    if orders:
        columns.insert(0, ("rt", "t0.rt"))
        stored.append(("n", Partial("max(n)", "max({0})", "BIGINT")))
        stored += [
            (
                name,
                Partial(
                    f"{'min' if name == 'o0' else 'max'}(o)", f"{'min' if name == 'o0' else 'max'}({{0}})", "HUGEINT"
                ),
            )
            for name in sorted(orders)
        ]
    tags: list[tuple[str, str]] = []
    for group, each_value in enumerate(values, 1):
        sql, duck = rows.typed(each_value.tree)
        bits = [
            str(1 << bit) if condition is None else f"CASE WHEN {rows.write(condition)} THEN {1 << bit} ELSE 0 END"
            for bit, condition in enumerate(each_value.conditions)
        ]
        columns += [(f"d{group}", sql), (f"m{group}", f"CAST({' | '.join(f'({bit})' for bit in bits)} AS BIGINT)")]
        tags.append((f"d{group}", storable(duck)))
    state = [(name, part.duck) for name, part in stored]
    if values:
        state = [("g", "TINYINT"), *tags, ("m", "BIGINT"), *state]
    partials = Partials(
        keys, tuple(state), tuple(results), tuple(stored), len(values), kept=False, numbered=bool(orders)
    )
    return Planned(tuple(columns), partials, tuple(known))


def _valued(tree: exp.Expr, values: list[Values]) -> tuple[int, int]:
    """The number of the values of an aggregate's argument, and its bit. Of CASE WHEN c THEN column END, the values are those
    of the column: reading it cannot fail where c does not hold."""
    condition = None
    branches = tree.args.get("ifs") or []
    if isinstance(tree, exp.Case) and len(branches) == 1 and not tree.args.get("default") and tree.this is None:
        inner = branches[0].args["true"].unnest()
        if isinstance(inner, exp.Column):
            condition, tree = branches[0].this, inner
    for number, each in enumerate(values, 1):
        if each.tree == tree and (condition in each.conditions or len(each.conditions) < MASK_BITS):
            return number, each.bit(condition)
    values.append(Values(tree))
    return len(values), values[-1].bit(condition)


def storable(duck: str) -> str:
    """The type in which the state keeps values of a type."""
    return "VARCHAR" if family(duck) == "null" else duck if family(duck) == "time" else of_duck(duck).duck


def argument_of(tree: exp.Expr) -> exp.Expr:
    """What an aggregate is of."""
    inner = tree.this
    return inner.expressions[0] if isinstance(inner, exp.Distinct) else inner


def _value(name: str, duck: str) -> str:
    """A result. Arrow has no HUGEINT: between two operators it is a DECIMAL, which divides otherwise."""
    return f"CAST(t0.{name} AS HUGEINT)" if duck == "HUGEINT" else f"t0.{name}"


def _listed(columns: dict[str, str]) -> list[str]:
    return [f"{sql} AS {name}" for name, sql in columns.items()]


def _grouped(by: Sequence[str]) -> str:
    return f" GROUP BY {', '.join(by)}" if by else ""
