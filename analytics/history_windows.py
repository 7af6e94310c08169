"""HOP, CUMULATE and SESSION of the streaming language in batch SQL: the same groups, over all rows at once."""

from __future__ import annotations

from sqlglot import exp

from analytics.errors import Place, SqlError
from analytics.group_windows import GROUP_WINDOWS
from analytics.nodes import GroupWindow
from analytics.places import place_of
from analytics.stages.wide import lengths_of, panes_of

_NAME = "group_window"


def widened(tree: exp.Expr, dialect: type) -> exp.Expr:
    """A query in DuckDB's words, without such windows. `dialect` writes and reads its expressions. Raises `SqlError`."""
    tree = tree.copy()
    for select in list(tree.find_all(exp.Select)):
        nodes = [node for node in select.find_all(GroupWindow) if node.parent_select is select]
        if not nodes:
            continue
        window = nodes[0].whole
        at = place_of(nodes[0].this) or place_of(select)
        expected = f"GROUP BY {GROUP_WINDOWS[window.args['kind']][0]}"
        if select.args.get("group") is None:
            raise SqlError(f"{nodes[0].shown} tells of a window that GROUP BY does not have", at, expected=expected)
        if any(node.whole != window for node in nodes):
            raise SqlError("a query has one window", at, expected=expected)
        if window.args["kind"] == "SESSION":
            starts, ends = _sessions(select, window, at, dialect)
        else:
            starts, ends = _panes(select, window, dialect)
        for node in nodes:
            value = ends if node.args["part"] == "END" else starts
            node.replace(exp.maybe_parse(value, dialect=dialect))
        select.args["group"].append("expressions", exp.maybe_parse(starts, dialect=dialect))
        select.args["group"].append("expressions", exp.maybe_parse(ends, dialect=dialect))
    return tree


def _panes(select: exp.Select, window: GroupWindow, dialect: type) -> tuple[str, str]:
    """Each row stands beside the ends of its windows."""
    windows = panes_of(window)
    ms = f"epoch_ms(CAST({window.this.sql(dialect=dialect)} AS TIMESTAMP))"
    pane = f"({ms} - (({ms} % {windows.pane_ms}) + {windows.pane_ms}) % {windows.pane_ms})"
    ends = f"range({windows.first_end(pane)}, {windows.last_end(pane)} + 1, {windows.step_ms})"
    begin = windows.start(pane, "end_ms")
    series = f"SELECT make_timestamp_ms({begin}) AS starts, make_timestamp_ms(end_ms) AS ends FROM (SELECT unnest({ends}) AS end_ms)"
    select.join(_source(f"({series}) AS {_NAME}", dialect), join_type="CROSS", copy=False)
    return f"{_NAME}.starts", f"{_NAME}.ends"


def _sessions(select: exp.Select, window: GroupWindow, at: Place | None, dialect: type) -> tuple[str, str]:
    """Each row learns its session before the groups are made."""
    source = select.args["from_"].this
    if select.args.get("joins") or not source.alias:
        raise SqlError("SESSION over a join", at, expected="the join in a subquery of FROM")
    (gap_ms,) = lengths_of(window)
    time = window.this.sql(dialect=dialect)
    keys = [key.sql(dialect=dialect) for key in _keys(select, window)]
    by = f"PARTITION BY {', '.join(keys)} " if keys else ""
    where = select.args.get("where")
    rows = f"SELECT *, coalesce({time} >= lag({time}) OVER ({by}ORDER BY {time}) + to_milliseconds({gap_ms}), TRUE) AS begins "
    rows += f"FROM {source.sql(dialect=dialect)}{'' if where is None else ' ' + where.sql(dialect=dialect)}"
    name = exp.to_identifier(source.alias, quoted=True).sql(dialect=dialect)
    numbered = f"SELECT *, sum(CAST(begins AS INTEGER)) OVER ({by}ORDER BY {time}) AS number FROM ({rows}) AS {name}"
    over = f"OVER (PARTITION BY {', '.join([*keys, 'number'])})"
    bounds = f"min({time}) {over} AS {_NAME}_starts, max({time}) {over} + to_milliseconds({gap_ms}) AS {_NAME}_ends"
    found = f"(SELECT *, {bounds} FROM ({numbered}) AS {name}) AS {name}"
    select.set("from_", exp.From(this=_source(found, dialect)))
    select.set("where", None)
    return f"{_NAME}_starts", f"{_NAME}_ends"


def _keys(select: exp.Select, window: GroupWindow) -> list[exp.Expr]:
    """The keys beside the window; one may be the alias or the number of what is selected."""
    keys = []
    for key in select.args["group"].expressions:
        found = key
        if isinstance(key, exp.Literal) and key.name.isdigit() and 0 < int(key.name) <= len(select.expressions):
            found = select.expressions[int(key.name) - 1].unalias()
        elif isinstance(key, exp.Column) and not key.table:
            named = [item.unalias() for item in select.expressions if item.alias.lower() == key.name.lower()]
            found = named[0] if named else key
        found = found.unnest()
        if not (isinstance(found, GroupWindow) and found.whole == window):
            keys.append(found)
    return keys


def _source(sql: str, dialect: type) -> exp.Expr:
    """What stands in FROM, as a tree."""
    tree: exp.Expr = exp.maybe_parse(f"SELECT * FROM {sql}", dialect=dialect)
    return tree.args["from_"].this
