"""What sqlglot reads and the language has not: a part of a clause that nothing here would look at is refused by its name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

READ: dict[type, frozenset[str]] = {
    exp.Between: frozenset({"this", "low", "high", "symmetric"}),
    exp.Cast: frozenset({"this", "to", "_type"}),
    exp.Ceil: frozenset({"this", "to"}),
    exp.Count: frozenset({"this", "expressions", "big_int"}),
    exp.CurrentDate: frozenset(),
    exp.CurrentTime: frozenset(),
    exp.Distinct: frozenset({"expressions"}),
    exp.Floor: frozenset({"this", "to"}),
    exp.Group: frozenset({"expressions"}),
    exp.In: frozenset({"this", "expressions", "query"}),
    exp.Is: frozenset({"this", "expression"}),
    exp.Join: frozenset({"this", "on", "side", "kind", "using", "method"}),
    exp.Length: frozenset({"this"}),
    exp.Like: frozenset({"this", "expression", "negate"}),
    exp.Max: frozenset({"this"}),
    exp.Min: frozenset({"this"}),
    exp.Ordered: frozenset({"this", "desc", "nulls_first"}),
    exp.Overlay: frozenset({"this", "expression", "from_", "for_"}),
    exp.Star: frozenset(),
    exp.StrPosition: frozenset({"this", "substr"}),
    exp.Subquery: frozenset({"this", "alias", "with_", "joins"}),
    exp.Substring: frozenset({"this", "start", "length"}),
    exp.Table: frozenset({"this", "alias", "db", "catalog", "joins"}),
    exp.TableAlias: frozenset({"this", "columns"}),
    exp.Trim: frozenset({"this", "expression", "position"}),
    exp.Union: frozenset({"this", "expression", "distinct", "with_", "order"}),
    exp.Values: frozenset({"expressions", "alias"}),
    exp.Window: frozenset({"this", "partition_by", "order", "spec", "alias", "over"}),
    exp.WindowSpec: frozenset({"kind", "start", "start_side", "end", "end_side"}),
}
"""The parts of each kind of node that something reads."""

_WORDS = {
    "order": "ORDER BY",
    "decimals": "a second argument",
    "expressions": "a second argument",
    "pivots": "PIVOT",
    "sample": "TABLESAMPLE",
}
_INSTEAD: dict[tuple[type, str], str] = {
    (exp.Star, "except_"): "the columns by their names",
    (exp.Subquery, "order"): "ORDER BY in the query around it",
    (exp.WindowSpec, "exclude"): "a window that ends with its row",
}
_GROUPINGS: dict[type, str] = {exp.Cube: "CUBE", exp.GroupingSets: "GROUPING SETS", exp.Rollup: "ROLLUP"}


@dataclass(frozen=True, slots=True)
class Unread:
    """`what` is the part of `node` that would be passed over; `instead`, what to write in its place."""

    node: exp.Expr
    what: str
    instead: str | None


def unread(tree: exp.Expr) -> Iterator[Unread]:
    """Every part of a statement that would have no effect."""
    for node in tree.walk():
        grouping = _GROUPINGS.get(type(node))
        if grouping is not None:
            yield Unread(node, f"GROUP BY {grouping}", "plain keys, and a pump for each grouping")
        known = READ.get(type(node), node.args.keys())
        for part, value in node.args.items():
            if value and part not in known:
                word = _WORDS.get(part) or part.strip("_").replace("_", " ").upper()
                yield Unread(node, word, _INSTEAD.get((type(node), part)))
