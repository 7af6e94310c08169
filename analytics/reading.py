"""Reading a query: its clauses resolved over its sources, and what is refused of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlglot import exp

from analytics.errors import Place, SqlError, closest
from analytics.intervals import milliseconds
from analytics.places import place_of
from analytics.program import folded
from analytics.ranking import bound_of
from analytics.relation import ROWTIME, Scope
from analytics.resolved import Query, aggregates_of, resolve
from analytics.sources import Builder, Relations, Sources, no_aggregates, no_windows, stream_first

_REFUSED = {
    "with_": "WITH",
    "limit": "LIMIT",
    "offset": "OFFSET",
    "qualify": "QUALIFY",
    "laterals": "LATERAL",
    "into": "SELECT INTO",
}
_SUPPORTED = {
    "hint",
    "expressions",
    "from_",
    "joins",
    "where",
    "group",
    "having",
    "kind",
    "windows",
    "order",
    "distinct",
}


def read(tree: exp.Expr, relations: Relations, builder: Builder) -> Query:
    """Raises `SqlError` for what does not resolve and for clauses that are not supported."""
    select = _select(tree.copy())
    sources = Sources(relations, builder, Scope(relations.lenient), read)
    from_ = select.args.get("from_")
    if from_ is None:
        raise SqlError("a query reads from a stream", place_of(select) or None, expected="FROM")
    listed = [from_.this, *(from_.this.args.get("joins") or []), *(select.args.get("joins") or [])]
    listed = stream_first(listed, relations, select)
    for source in listed:
        _name_window(source.this if isinstance(source, exp.Join) else source, select)
    missing = any(isinstance(each, exp.Join) and (each.side or "").upper() in ("RIGHT", "FULL") for each in listed[1:])
    stream, before, (reach, rows) = sources.first(listed[0], bound_of(select), missing=missing)
    if not stream.timed:
        raise SqlError(f"{stream.name} is a reference table", place_of(listed[0]), expected="the stream first in FROM")
    joined = [sources.join(join) for join in listed[1:] if isinstance(join, exp.Join)]
    joined += sources.lookups(select)
    condition = select.args.get("where")
    where = None
    if condition is not None:
        where = resolve(condition.this, sources.scope)
        no_aggregates(where, "WHERE")
        no_windows(where, "WHERE")
    items = list(_items(select, sources.scope))
    rowtime = _promoted(select, sources.scope, bool(joined))
    clause = select.args.get("group")
    keys: list[exp.Expr] = []
    for tree in [] if clause is None else clause.expressions:
        key = _key(tree, items, sources.scope)
        if any(aggregates_of(key)):
            raise SqlError("an aggregate cannot stand in GROUP BY", place_of(key) or place_of(tree))
        if key not in keys:
            keys.append(key)
    having = select.args.get("having")
    order = select.args.get("order")
    stagger = None if clause is None else clause.meta.get("stagger")
    return Query(
        stream,
        reach,
        joined,
        sources.scope,
        before,
        where,
        items,
        rowtime,
        keys,
        None if stagger is None else milliseconds(stagger),
        None if having is None else _key(having.this, items, sources.scope),
        [
            (_key(each.this, items, sources.scope), bool(each.args.get("desc")))
            for each in ([] if order is None else order.expressions)
        ],
        select,
        rows,
    )


def _key(tree: exp.Expr, items: list[tuple[str | None, exp.Expr]], scope: Scope) -> exp.Expr:
    """A key may be an expression, the alias of a selected one, or its number."""
    if isinstance(tree, exp.Literal) and not tree.is_string:
        number = int(tree.name) if tree.name.isdigit() else 0
        if not 1 <= number <= len(items):
            raise SqlError(f"the select list has no item {tree.name}", place_of(tree))
        return items[number - 1][1].copy()
    if isinstance(tree, exp.Column) and tree.args.get("table") is None:
        try:
            return resolve(tree, scope)
        except SqlError:
            name = folded(tree.this)
            for alias, item in items:
                if alias == name:
                    return item.copy()
            raise
    return resolve(tree, scope)


def _is_time(node: exp.Expr) -> bool:
    """Whether it is the time that the row has anyway."""
    return isinstance(node, exp.Column) and node.name == "rt" and bool(node.meta.get("bare"))


def _promoted(select: exp.Select, scope: Scope, joined: bool) -> exp.Expr | None:
    """The expression AS ROWTIME, unless it is the time that the row has anyway."""
    found = [item for item in select.expressions if _is_promotion(item)]
    if len(found) > 1:
        raise SqlError("two columns are ROWTIME", place_of(found[1].args["alias"]))
    if not found:
        return None
    tree = resolve(found[0].this, scope)
    if _is_time(tree) or (isinstance(tree, exp.Column) and tree.name == "rt" and not joined):
        return None
    return tree


def _is_promotion(item: exp.Expr) -> bool:
    return isinstance(item, exp.Alias) and folded(item.args["alias"]) == ROWTIME


def _select(tree: exp.Expr) -> exp.Select:
    while isinstance(tree, exp.Subquery) and not tree.args.get("alias"):
        tree = tree.this
    if not isinstance(tree, exp.Select):
        raise SqlError("this is not a query", place_of(tree), expected="SELECT")
    for key, value in tree.args.items():
        if value and key not in _SUPPORTED:
            raise SqlError(f"{_REFUSED.get(key, key.upper())} is not supported", _place_of_any(value) or place_of(tree))
    if not tree.expressions:
        raise SqlError("the query selects nothing", place_of(tree), expected="columns after SELECT")
    return tree


def _place_of_any(value: object) -> Place | None:
    return place_of(value) if isinstance(value, exp.Expr) else None


def _items(select: exp.Select, scope: Scope) -> Iterator[tuple[str | None, exp.Expr]]:
    for item in select.expressions:
        if isinstance(item, exp.Star):
            yield from scope.star(None)
        elif isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
            yield from scope.star(item.args["table"])
        elif _is_promotion(item):
            continue
        elif isinstance(item, exp.Alias):
            yield folded(item.args["alias"]), resolve(_named_windows(item.this, select), scope)
        else:
            name = folded(item.this) if isinstance(item, exp.Column) else None
            yield name, resolve(_named_windows(item, select), scope)


def _name_window(source: exp.Expr, select: exp.Select) -> None:
    """Puts the window of the clause WINDOW in the place of ``OVER name`` behind a source."""
    alias = source.args.get("alias")
    if alias is not None and alias.meta.get("over") is not None:
        alias.meta["over"] = _named_windows(alias.meta["over"], select)


def _named_windows(tree: exp.Expr, select: exp.Select) -> exp.Expr:
    """A copy in which ``OVER name`` is the window that the clause WINDOW gives that name."""
    known: dict[str, exp.Expr] = {}
    for window in select.args.get("windows") or []:
        if folded(window.this) in known:
            raise SqlError(f"there are two windows {folded(window.this)}", place_of(window.this))
        known[folded(window.this)] = _based(window.copy(), known)

    def named(node: exp.Expr) -> exp.Expr:
        return _based(node, known) if isinstance(node, exp.Window) else node

    return tree.copy().transform(named, copy=False) if tree.find(exp.Window) else tree


def _based(window: exp.Expr, known: Mapping[str, exp.Expr]) -> exp.Expr:
    """A window with all that the one has on which it is based: ``OVER w``, ``OVER (w ROWS …)`` or ``v AS (w ROWS …)``."""
    alias = window.args.get("alias")
    if alias is None:
        return window
    base = known.get(folded(alias))
    if base is None:
        raise SqlError(f"there is no window {folded(alias)}", place_of(alias), suggestion=closest(folded(alias), known))
    for key in ("partition_by", "order", "spec"):
        value = base.args.get(key)
        if not value:
            continue
        if window.args.get(key):
            what = f"the window says again what {folded(alias)} says already"
            raise SqlError(what, place_of(alias), expected="a window that adds to it")
        window.set(key, [each.copy() for each in value] if isinstance(value, list) else value.copy())
    window.set("alias", None)
    return window
