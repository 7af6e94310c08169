"""How many rows of each key a query takes of one that numbers them by ROW_NUMBER()."""

from __future__ import annotations

from sqlglot import exp


def bound_of(select: exp.Select) -> int | None:
    """How many rows of each key a query takes of one that numbers them; None if it is no such query."""
    source, condition = select.args.get("from_"), select.args.get("where")
    subquery = None if source is None else source.this
    inner = subquery.unnest() if isinstance(subquery, exp.Subquery) else None
    if not isinstance(inner, exp.Select) or condition is None:
        return None
    names = [
        item.alias
        for item in inner.expressions
        if isinstance(item, exp.Alias)
        and isinstance(item.this, exp.Window)
        and isinstance(item.this.this, exp.RowNumber)
    ]
    if len(names) != 1:
        return None
    bounds = [
        bound
        for part in (condition.this.flatten() if isinstance(condition.this, exp.And) else [condition.this])
        if (bound := _bound(part.unnest(), names[0])) is not None
    ]
    return min(bounds, default=None)


def _bound(part: exp.Expr, name: str) -> int | None:
    if isinstance(part, exp.GTE | exp.GT) or (isinstance(part, exp.EQ) and isinstance(part.this, exp.Literal)):
        part = {exp.GTE: exp.LTE, exp.GT: exp.LT, exp.EQ: exp.EQ}[type(part)](
            this=part.expression, expression=part.this
        )
    if not isinstance(part, exp.LTE | exp.LT | exp.EQ):
        return None
    left, right = part.this.unnest(), part.expression.unnest()
    if not isinstance(left, exp.Column) or left.name.upper() != name.upper():
        return None
    if not isinstance(right, exp.Literal) or right.is_string or not right.name.isdigit():
        return None
    bound = int(right.name) - isinstance(part, exp.LT)
    return bound if bound > 0 and (not isinstance(part, exp.EQ) or bound >= 1) else None
