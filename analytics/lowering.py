"""From a resolved query to pumps: joins, windows and the like become operators, with hidden streams between them.

Each stage computes what it needs in columns of a hidden stream, reads that, and makes another; the trees of the query are
then rewritten to name the new columns. Errors of rows so happen where expressions are computed, never in an operator.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
from sqlglot import exp

from analytics import grouping, tables, windows
from analytics.dialect import place_of
from analytics.errors import SqlError
from analytics.expressions import Expressions, Types
from analytics.monotonic import direction, time_window
from analytics.operators.buffer import Buffer
from analytics.operators.distinct import Distinct
from analytics.operators.joining import Joining, Side
from analytics.operators.runs import Runs
from analytics.operators.sliding import Frame, Sliding
from analytics.operators.stagger import Stagger
from analytics.operators.timing import Ordered, Retimed
from analytics.operators.work import Operator
from analytics.plan import Pump, RowQuery, Window
from analytics.program import folded
from analytics.relation import Field, Relation, Scope, physical
from analytics.sources import Join, Query, Relations, read, resolve
from analytics.types import of_duck

TIME = "TIMESTAMP_MS"


@dataclass(slots=True)
class Final:
    """A query after its stages: what computes its select list. `group` is set for a grouped one."""

    query: Query
    expressions: Expressions
    group: grouping.Grouped | None

    @property
    def items(self) -> list[tuple[str | None, exp.Expr]]:
        return self.query.items


@dataclass(slots=True)
class Lowering:
    """Collects the pumps of one program. `pump` is the name of the pump that is being compiled."""

    connection: duckdb.DuckDBPyConnection
    types: Types
    relations: Relations
    pumps: list[Pump] = field(default_factory=list)
    hidden: dict[str, dict[str, str]] = field(default_factory=dict)
    pump: str = ""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def number(self) -> int:
        return next(self._numbers)

    def stream(self, columns: Sequence[tuple[str, str]], extra: Sequence[tuple[str, str]] = ()) -> Relation:
        """A hidden stream with columns (name, type), known as c0, c1, …; `extra` are further physical ones."""
        name = f"x{self.number()}"
        fields = tuple(Field(shown, f"c{i}", duck) for i, (shown, duck) in enumerate(columns))
        declared = [f"c{i} {duck}" for i, (_, duck) in enumerate(columns)] + [f"{n} {duck}" for n, duck in extra]
        self.connection.execute(f"CREATE TABLE {name} ({', '.join([f'rt {TIME}', *declared])})")
        self.hidden[name] = {f"c{i}": shown for i, (shown, _) in enumerate(columns)}
        return Relation(name, name, fields, True)

    def buffer(self, columns: Sequence[tuple[str, str]]) -> Buffer:
        return Buffer(f"b{self.number()}", tuple(columns))

    def table(self) -> str:
        """The name of another table of the state."""
        return f"b{self.number()}"

    def operate(self, operator: Operator, target: Relation, *sources: Relation) -> None:
        first, *more = (source.physical for source in sources)
        self.pumps.append(Pump(self.pump, first, target.physical, None, None, operator, tuple(more)))

    def lower(self, tree: exp.Expr) -> Final:
        """The stages of a query; the pump that computes its select list is left to `fill`."""
        query = read(tree, self.relations, self)
        _join(self, query)
        _slide(self, query)
        group = _group(self, query)
        expressions = Expressions(self.types, query.source) if group is None else group.finals
        final = Final(query, expressions, group)
        return _arrange(self, final) if query.rowtime is not None or query.distinct or query.order else final

    def fill(self, final: Final, target: str, columns: Sequence[tuple[str, str]]) -> None:
        """The pump that computes columns (physical name, SQL) into a stream."""
        rows = (("rt", "t0.rt"), *columns)
        query, group = final.query, final.group
        if group is None:
            where = None if query.where is None else final.expressions.write(query.where)
            self.pumps.append(Pump(self.pump, query.stream.physical, target, RowQuery(rows, query.joins, where)))
            return
        window = Window(
            f"w{self.number()}",
            group.state,
            group.partial,
            group.merge,
            group.over,
            RowQuery(rows, "", group.having),
            group.kept,
        )
        self.pumps.append(Pump(self.pump, query.stream.physical, target, group.rows, window))

    def project(self, final: Final, trees: Sequence[tuple[str, exp.Expr]]) -> Relation:
        """A hidden stream of the values of some trees, by name."""
        written = [(name, *final.expressions.typed(tree)) for name, tree in trees]
        columns = [(name, kept(duck)) for name, _, duck in written]
        relation = self.stream(columns)
        values = [
            (f"c{i}", sql if duck == columns[i][1] else f"CAST({sql} AS {columns[i][1]})")
            for i, (_, sql, duck) in enumerate(written)
        ]
        self.fill(final, relation.physical, values)
        return relation

    def subquery(self, tree: exp.Expr) -> Relation:
        """The rows of a query that stands in FROM, as a hidden stream."""
        sides = [self.lower(side) for side in sides_of(tree)]
        first = sides[0]
        names = [name or f"EXPR${i}" for i, (name, _) in enumerate(first.items)]
        written = [[side.expressions.typed(item) for _, item in side.items] for side in sides]
        for side, columns in zip(sides, written, strict=True):
            if len(columns) != len(names):
                raise SqlError(
                    f"a side of UNION ALL has {len(columns)} columns",
                    place_of(side.query.tree),
                    expected=f"{len(names)}, as many as the first",
                )
        kinds = [self._common([columns[i][1] for columns in written], first.query.tree) for i in range(len(names))]
        relation = self.stream(list(zip(names, kinds, strict=True)))
        for side, columns in zip(sides, written, strict=True):
            values = [(f"c{i}", f"CAST({sql} AS {kinds[i]})") for i, (sql, _) in enumerate(columns)]
            self.fill(side, relation.physical, values)
        return relation

    def _common(self, kinds: Sequence[str], near: exp.Expr) -> str:
        """The type that holds all of some types."""
        if len(set(kinds)) == 1:
            return kept(kinds[0])
        listed = ", ".join(f"CAST(NULL AS {kept(kind)})" for kind in kinds)
        return kept(self.types.of(f"coalesce({listed})", "", near))

    def values(self, values: exp.Values) -> Relation:
        """``(VALUES (1, 'a'), …)`` as a table."""
        writer = Expressions(self.types, "")
        rows = [[writer.write(part) for part in row.expressions] for row in values.expressions]
        if len({len(row) for row in rows}) != 1:
            raise SqlError("the rows of VALUES are not of one length", place_of(values))
        listed = ", ".join(f"({', '.join(row)})" for row in rows)
        columns = ", ".join(f"col{i} AS c{i}" for i in range(len(rows[0])))
        name = f"(SELECT {columns} FROM (VALUES {listed}))"
        fields = tuple(
            Field(f"EXPR${i}", f"c{i}", self.types.of(f"t0.c{i}", f"FROM {name} AS t0", values))
            for i in range(len(rows[0]))
        )
        return Relation("VALUES", name, fields, False)

    def lookup(self, tree: exp.Expr, exists: bool) -> Relation:
        select = tree.unnest() if isinstance(tree, exp.Subquery) else tree
        source = select.args.get("from_") if isinstance(select, exp.Select) else None
        expected = "a query of one reference table: SELECT column FROM table WHERE …"
        if source is None or not isinstance(source.this, exp.Table):
            raise SqlError("this query inside an expression is not supported", place_of(tree), expected=expected)
        relation = self.relations.find(source.this)
        clauses = {key for key, value in select.args.items() if value} - {"expressions", "from_", "where", "hint"}
        if relation.timed or clauses or len(select.expressions) != 1:
            raise SqlError("this query inside an expression is not supported", place_of(tree), expected=expected)
        scope = Scope(self.relations.lenient)
        alias = source.this.args.get("alias")
        scope.add(relation.name if alias is None or alias.this is None else folded(alias.this), "t0", relation, source)
        writer = Expressions(self.types, f"FROM {relation.physical} AS t0")
        item = exp.true() if exists else resolve(select.expressions[0], scope)
        value, duck = writer.typed(item)
        condition = select.args.get("where")
        where = "" if condition is None else f" AND {writer.write(resolve(condition.this, scope))}"
        physical_name = (
            f"(SELECT DISTINCT {value} AS c0 FROM {relation.physical} AS t0 WHERE {value} IS NOT NULL{where})"
        )
        return Relation("the query", physical_name, (Field("c0", "c0", duck),), False)

    def grouped(self, stream: Relation, keys: Sequence[exp.Expr], items: Sequence[tuple[str, exp.Expr]]) -> Relation:
        """The groups of a stream by keys, of which one is a window of its time."""
        query = Query(stream, 0, [], Scope(), None, None, list(items), None, list(keys), None, None, [], exp.Select())
        group = _group(self, query)
        assert group is not None, "there are keys"
        return self.project(Final(query, group.finals, group), items)

    def table_function(self, call: exp.Expr, alias: str | None) -> Relation:
        return tables.lowered(self, call)


def kept(duck: str) -> str:
    """The type in which a hidden stream keeps values of a type."""
    if duck.startswith(("STRUCT", "INTERVAL", "TIME")) and not duck.startswith("TIMESTAMP"):
        return duck
    return of_duck(duck).duck


def sides_of(tree: exp.Expr) -> list[exp.Expr]:
    """The queries that UNION ALL puts together; a query alone is one. Raises `SqlError` for other set operations."""
    while isinstance(tree, exp.Subquery) and not tree.args.get("alias"):
        tree = tree.this
    if not isinstance(tree, exp.SetOperation):
        return [tree]
    if not isinstance(tree, exp.Union) or tree.args.get("distinct"):
        name = "UNION" if isinstance(tree, exp.Union) else tree.key.upper()
        raise SqlError(f"{name} of streams is not supported", place_of(tree), expected="UNION ALL")
    order = tree.args.get("order")
    if order is None:
        return [*sides_of(tree.this), *sides_of(tree.expression)]
    plain = tree.copy()
    plain.set("order", None)
    return [exp.select("*").from_(exp.Subquery(this=plain)).order_by(*order.expressions)]


def columns_of(relation: Relation) -> list[tuple[str, str]]:
    return [(each.physical, each.duck) for each in relation.fields]


def shown(relation: Relation) -> list[tuple[str, str]]:
    return [(each.name, each.duck) for each in relation.fields]


def _used(query: Query) -> dict[tuple[str, str], exp.Column]:
    """The physical columns that the query names, by (alias, name); the time of the row to come is not among them."""
    found: dict[tuple[str, str], exp.Column] = {}
    for tree in query.trees():
        for column in tree.find_all(exp.Column):
            if not column.meta.get("bare"):
                found.setdefault((column.args["table"].name, column.name), column)
    return found


def _renamed(names: Mapping[tuple[str, str], str]) -> Callable[[exp.Expr], exp.Expr]:
    """A change of trees: columns by (alias, name) become columns of t0."""

    def change(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Column) or node.meta.get("bare"):
            return node
        key = (node.args["table"].name, node.name)
        if key not in names:
            return node
        column = physical("t0", names[key])
        column.meta.update(node.meta)
        return column

    return lambda tree: tree.copy().transform(change, copy=False)


def _join(lowering: Lowering, query: Query) -> None:
    inner = all(not join.side for join in query.joined)
    until: str | None = None
    included = ["t0"]
    for join in query.joined:
        if not join.relation.timed:
            _reference(lowering, query, join)
            included.append(join.alias)
            continue
        until = _stream_join(lowering, query, join, included, until, inner)
        included = ["t0"]
    if query.before is not None:
        query.where = query.before if query.where is None else exp.And(this=query.before, expression=query.where)
        query.before = None
    query.joined = []


def _reference(lowering: Lowering, query: Query, join: Join) -> None:
    if join.side not in ("", "LEFT"):
        what = f"{join.side} JOIN with a reference table is not supported"
        raise SqlError(what, place_of(join.node), expected="INNER JOIN or LEFT JOIN")
    relation, alias = join.relation, join.alias
    if join.on is None:
        query.joins += f" CROSS JOIN {relation.physical} AS {alias}"
        return
    condition = Expressions(lowering.types, f"{query.source} CROSS JOIN {relation.physical} AS {alias}").write(join.on)
    query.joins += f" {join.side or 'INNER'} JOIN {relation.physical} AS {alias} ON {condition}"


def _stream_join(
    lowering: Lowering, query: Query, join: Join, included: Sequence[str], until: str | None, inner: bool
) -> str:
    """Puts a hidden stream of the pairs in the place of all sources up to this one. Gives the column of the pairs in which
    the end of their windows is."""
    on = join.on
    if inner:
        left_only, on, right_only = _pushed(query, join, included)
    else:
        left_only, right_only = None, None
    if query.before is not None:
        left_only = query.before if left_only is None else exp.And(this=query.before, expression=left_only)
        query.before = None
    join.on = on
    used = _used(query)
    left = [key for key in used if key[0] in included]
    right = [key for key in used if key[0] == join.alias]
    left_end = until or f"CAST(t0.rt + to_milliseconds({query.reach_ms}) AS {TIME})"
    right_end = f"CAST(t0.rt + to_milliseconds({join.reach_ms}) AS {TIME})"
    source = f"FROM {join.relation.physical} AS t0"
    sides = []
    for keys, stream, joins, writing, condition, end, outer in (
        (left, query.stream, query.joins, query.source, left_only, left_end, join.side in ("LEFT", "FULL")),
        (right, join.relation, "", source, right_only, right_end, join.side in ("RIGHT", "FULL")),
    ):
        sides.append(_side(lowering, used, keys, stream, joins, writing, condition, end, outer, join.alias))
    (left_side, left_relation), (right_side, right_relation) = sides
    names = {key: f"l.c{i}" for i, key in enumerate(left)} | {key: f"r.c{i}" for i, key in enumerate(right)}
    meeting = "TRUE"
    if on is not None:
        writer = Expressions(
            lowering.types, f"FROM {left_relation.physical} AS l CROSS JOIN {right_relation.physical} AS r"
        )
        meeting = writer.write(_placed(on, names))
        if on.find(exp.Div, exp.Mod, exp.Cast, exp.Anonymous):
            meeting = f"coalesce(TRY({meeting}), FALSE)"
    operator = Joining(left_side, right_side, meeting)
    columns = [*shown(left_relation), *shown(right_relation)]
    joined = lowering.stream(columns, [("u", TIME)])
    lowering.operate(operator, joined, left_relation, right_relation)
    query.stream, query.joins, join.on = joined, "", None
    query.change(_renamed({key: f"c{i}" for i, key in enumerate([*left, *right])}))
    return "t0.u"


def _side(
    lowering: Lowering,
    used: Mapping[tuple[str, str], exp.Column],
    keys: Sequence[tuple[str, str]],
    stream: Relation,
    joins: str,
    source: str,
    where: exp.Expr | None,
    end: str,
    outer: bool,
    alias: str,
) -> tuple[Side, Relation]:
    """A hidden stream of what one side of a join gives, with the end of each row's window in ``u``."""
    writer = Expressions(lowering.types, source)
    values, columns = [], []
    for number, key in enumerate(keys):
        sql = f"t0.{key[1]}" if key[0] == alias else f"{key[0]}.{key[1]}"
        duck = TIME if key[1] == "rt" else lowering.types.of(sql, source, used[key])
        columns.append((str(used[key].meta.get("name", key[1])), kept(duck)))
        values.append((f"c{number}", sql))
    relation = lowering.stream(columns, [("u", TIME)])
    condition = (
        None
        if where is None
        else writer.write(
            _placed(where, {(alias, key[1]): f"t0.{key[1]}" for key in _columns(where) if key[0] == alias})
        )
    )
    rows = RowQuery((("rt", "t0.rt"), *values, ("u", end)), joins, condition)
    lowering.pumps.append(Pump(lowering.pump, stream.physical, relation.physical, rows))
    buffer = lowering.buffer([*columns_of(relation), ("u", TIME)])
    return Side(buffer, "u", outer), relation


def _columns(tree: exp.Expr) -> set[tuple[str, str]]:
    return {(column.args["table"].name, column.name) for column in tree.find_all(exp.Column)}


def _placed(tree: exp.Expr, names: Mapping[tuple[str, str], str]) -> exp.Expr:
    """A copy with columns by (alias, name) under other aliases."""

    def change(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Column):
            return node
        to = names.get((node.args["table"].name, node.name))
        if to is None:
            return node
        alias, _, name = to.partition(".")
        column = physical(alias, name)
        column.meta.update(node.meta)
        column.meta["bare"] = False
        return column

    return tree.copy().transform(change, copy=False)


def _pushed(
    query: Query, join: Join, included: Sequence[str]
) -> tuple[exp.Expr | None, exp.Expr | None, exp.Expr | None]:
    """What of WHERE and ON concerns the left side only, both sides, and the right side only; it leaves WHERE."""
    parts: list[list[exp.Expr]] = [[], [], []]
    rest = []
    for tree, stays in [(query.where, True), (join.on, False)]:
        for part in [] if tree is None else list(tree.flatten()) if isinstance(tree, exp.And) else [tree]:
            part = part.unnest()
            aliases = {alias for alias, _ in _columns(part)}
            bare = any(column.meta.get("bare") for column in part.find_all(exp.Column))
            if bare and stays:
                rest.append(part)
            elif aliases and aliases <= set(included):
                parts[0].append(part)
            elif aliases == {join.alias}:
                parts[2].append(part)
            elif aliases <= {*included, join.alias}:
                parts[1].append(part)
            else:
                rest.append(part)
    query.where = _all(rest)
    return _all(parts[0]), _all(parts[1]), _all(parts[2])


def _all(conditions: Sequence[exp.Expr]) -> exp.Expr | None:
    result: exp.Expr | None = None
    for condition in conditions:
        wrapped = exp.Paren(this=condition.copy())
        result = wrapped if result is None else exp.And(this=result, expression=wrapped)
    return result


def _slide(lowering: Lowering, query: Query) -> None:
    """Functions OVER windows become columns."""
    found: list[exp.Window] = []
    for tree in query.trees():
        for window in tree.find_all(exp.Window):
            if window not in found:
                found.append(window)
    if not found:
        return
    if query.grouped:
        what = "a window (OVER) beside GROUP BY is not supported: group in a subquery, or in a pump before this one"
        raise SqlError(what, place_of(found[0]))
    inside = {id(column) for window in _every(query, exp.Window) for column in window.find_all(exp.Column)}
    outside = [c for c in _every(query, exp.Column) if id(c) not in inside and not c.meta.get("bare")]
    trees: list[exp.Expr] = []
    for column in outside:
        if column not in trees:
            trees.append(column)
    passed = len(trees)
    final = Final(query, Expressions(lowering.types, query.source), None)

    def named(tree: exp.Expr) -> tuple[str, str]:
        if tree not in trees:
            trees.append(tree)
        return f"c{trees.index(tree)}", kept(final.expressions.typed(tree)[1])

    frames: list[Frame] = []
    results: list[tuple[str, str]] = []
    for window in found:
        frame = windows.frame_of(window, named)
        if frame not in frames:
            frames.append(frame)
        sliding = windows.Sliding(frame, frames.index(frame))
        results.append((f"r{len(results)}", windows.written(window, sliding, named)))
    relation = lowering.project(final, [(str(t.meta.get("name", "")), t) for t in trees])
    query.where = None
    order = ", ".join(f"0::BIGINT AS i{number}" for number in range(len(frames)))
    source = f"FROM (SELECT *, 0::BIGINT AS k, {order} FROM {relation.physical}) AS t0"
    kinds = [kept(lowering.types.of(sql, source, w)) for (_, sql), w in zip(results, found, strict=True)]
    count = len(trees)
    target = lowering.stream([*shown(relation), *(("", kind) for kind in kinds)])
    outputs = [(f"c{count + i}", sql) for i, (_, sql) in enumerate(results)]
    buffer = lowering.buffer(columns_of(relation))
    lowering.operate(Sliding(buffer, lowering.table(), frames, outputs), target, relation)
    names = {(c.args["table"].name, c.name): f"c{i}" for i, c in enumerate(trees[:passed]) if isinstance(c, exp.Column)}
    rename = _renamed(names)

    def change(tree: exp.Expr) -> exp.Expr:
        def windowed(node: exp.Expr) -> exp.Expr:
            if not isinstance(node, exp.Window):
                return node
            column = physical("t0", f"c{count + found.index(node)}")
            column.meta["bare"] = True  # not to be renamed as a column of the source
            return column

        changed = rename(tree.copy().transform(windowed, copy=False))
        for column in changed.find_all(exp.Column):
            if column.name != "rt":
                column.meta["bare"] = False
        return changed

    query.change(change)
    query.stream, query.joins = target, ""


def _every(query: Query, kind: type[exp.Expr]) -> list[exp.Expr]:
    return [node for tree in query.trees() for node in tree.find_all(kind)]


def _group(lowering: Lowering, query: Query) -> grouping.Grouped | None:
    if not query.grouped:
        return None
    if query.stagger_ms is not None:
        return _staggered(lowering, query, query.stagger_ms)
    window, others = grouping.window_of(query)
    if window is None:
        values = [number for number, key in enumerate(query.keys) if direction(key) not in (None, 0)]
        if not values:
            raise grouping.endless(query)
        return _by_runs(lowering, query, values)
    return grouping.group(query, window, others, lowering.types)


def _by_runs(lowering: Lowering, query: Query, values: Sequence[int]) -> grouping.Grouped:
    """Groups by monotonic expressions, the keys of the numbers `values`: they end when one of them changes."""
    relation, names = _materialized(lowering, query, query.keys)
    run = [names[number] for number in values]
    operator = Runs(lowering.buffer(columns_of(relation)), run, lowering.table())
    return _with_window(
        lowering, query, relation, operator, names, f"CAST(w + INTERVAL '1 MILLISECOND' AS {TIME})", "w"
    )


def _staggered(lowering: Lowering, query: Query, length_ms: int) -> grouping.Grouped:
    if length_ms == 0:
        raise SqlError("a stagger window of no length", place_of(query.tree))
    relation, names = _materialized(lowering, query, query.keys)
    operator = Stagger(lowering.buffer(columns_of(relation)), names, lowering.table(), length_ms)
    end = f"CAST(w + to_milliseconds({length_ms}) AS {TIME})"
    return _with_window(lowering, query, relation, operator, names, end, end)


def _with_window(
    lowering: Lowering,
    query: Query,
    relation: Relation,
    operator: Operator,
    names: Sequence[str],
    over: str,
    stamp: str,
) -> grouping.Grouped:
    """Groups of the rows that an operator has told their window, in column ``w``."""
    target = lowering.stream(shown(relation), [("w", TIME)])
    lowering.operate(operator, target, relation)
    query.stream = target
    query.keys = [physical("t0", name) for name in names]
    return grouping.group(query, grouping.Key(physical("t0", "w"), over, stamp), query.keys, lowering.types)


def _materialized(lowering: Lowering, query: Query, keys: Sequence[exp.Expr]) -> tuple[Relation, list[str]]:
    """A hidden stream of the keys and of every column that the rest of the query names; its trees are rewritten."""
    columns = list(_used(query).values())
    trees = [*keys, *columns]
    final = Final(query, Expressions(lowering.types, query.source), None)
    relation = lowering.project(final, [(str(t.meta.get("name", "")), t) for t in trees])
    names = [f"c{i}" for i in range(len(keys))]
    rename = _renamed({(c.args["table"].name, c.name): f"c{len(keys) + i}" for i, c in enumerate(columns)})

    def change(tree: exp.Expr) -> exp.Expr:
        def keyed(node: exp.Expr) -> exp.Expr:
            if node not in keys or (isinstance(node, exp.Column) and node.meta.get("bare")):
                return node
            column = physical("t0", names[keys.index(node)])
            column.meta["settled"] = True
            return column

        marked = tree.copy().transform(keyed, copy=False)
        settled = [(c, c.name) for c in marked.find_all(exp.Column) if c.meta.get("settled")]
        for column, _ in settled:
            column.meta["bare"] = True
        changed = rename(marked)
        for column in changed.find_all(exp.Column):
            if column.meta.pop("settled", False):
                column.meta["bare"] = False
        return changed

    query.where = None
    query.change(change)
    query.stream, query.joins = relation, ""
    return relation, names


def _arrange(lowering: Lowering, final: Final) -> Final:
    """AS ROWTIME, DISTINCT and ORDER BY, over the values of the select list."""
    query = final.query
    items = [(name or f"EXPR${i}", tree) for i, (name, tree) in enumerate(query.items)]
    trees = [tree for _, tree in items]
    for tree, _ in query.order:
        if tree not in trees:
            trees.append(tree)
    if query.distinct and len(trees) > len(items):
        raise SqlError("SELECT DISTINCT is ordered by what it selects", place_of(query.tree))
    if query.rowtime is not None:
        trees.append(query.rowtime)
    named = [items[i] if i < len(items) else ("", tree) for i, tree in enumerate(trees)]
    relation = lowering.project(final, named)
    columns = columns_of(relation)
    if query.distinct:
        values = [f"c{i}" for i, (_, tree) in enumerate(items) if direction(tree) not in (None, 0) and not _bare(tree)]
        if not values:
            what = (
                "SELECT DISTINCT of a stream never forgets a row unless it selects an expression that goes on with time"
            )
            raise SqlError(
                what, place_of(query.tree), expected="STEP(ROWTIME BY …) or FLOOR(ROWTIME TO …) in the select list"
            )
        target = lowering.stream(shown(relation))
        lowering.operate(Distinct(lowering.buffer(columns), values, lowering.table()), target, relation)
        relation = target
    if query.rowtime is not None:
        time = f"c{len(trees) - 1}"
        if dict(columns)[time] != TIME:
            raise SqlError("ROWTIME is a TIMESTAMP", place_of(query.rowtime), expected="a TIMESTAMP AS ROWTIME")
        target = lowering.stream(shown(relation))
        lowering.operate(Retimed(lowering.buffer(columns), time, lowering.table()), target, relation)
        relation = target
    if query.order:
        target = lowering.stream(shown(relation))
        names = [f"c{trees.index(tree)}" for tree, _ in query.order]
        lowering.operate(_ordering(lowering, final, columns, names), target, relation)
        relation = target
    query.stream, query.joins, query.where = relation, "", None
    query.items = [(name, physical("t0", f"c{i}")) for i, (name, _) in enumerate(items)]
    query.order, query.rowtime = [], None
    return Final(query, Expressions(lowering.types, query.source), None)


def _bare(tree: exp.Expr) -> bool:
    return isinstance(tree, exp.Column)


def _ordering(lowering: Lowering, final: Final, columns: Sequence[tuple[str, str]], names: Sequence[str]) -> Operator:
    query = final.query
    first, descending = query.order[0]
    by = ", ".join(
        [f"{name}{' DESC' if down else ''}" for name, (_, down) in zip(names, query.order, strict=True)] + ["rt", "n"]
    )
    buffer = lowering.buffer(columns)
    if descending or direction(first) in (None, 0):
        raise SqlError(
            "the first key of ORDER BY does not go on with time",
            place_of(first) or place_of(query.tree),
            expected="ROWTIME, FLOOR(ROWTIME TO unit) or STEP(ROWTIME BY …), ascending",
        )
    if final.group is not None:
        return Ordered(buffer, "rt", by)
    window = time_window(first)
    if window is None or window.value is not None:
        return Runs(buffer, [names[0]], lowering.table(), timed=False, order=by)
    return Ordered(buffer, window.over.replace("CAST(w ", f"CAST({names[0]} "), by)
