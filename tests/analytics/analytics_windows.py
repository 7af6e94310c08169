"""Random windows and aggregates for `analytics_random`, computed naively."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import analytics_random
from analytics_expressions import Expressions
from analytics_random import Drawing, Made, Query, Row, Stream, deviation, mean, total
from analytics_values import Expression, Fault, decimal_of, family

Values = Callable[[Sequence[dict[str, Any]]], Any]
NUMBERS = ("INTEGER", "BIGINT", "DOUBLE", "DECIMAL")


@dataclass(frozen=True)
class Aggregate:
    """`value` is over what the rows of the group see, in their order."""

    sql: str
    kind: str
    value: Values
    argument: Expression | None


def aggregate(drawing: Drawing, expressions: Expressions, ordered: bool) -> Aggregate:
    name = drawing.among(
        ("*", "COUNT", "SUM", "AVG", "MIN", "MAX", "DISTINCT", "STDDEV_POP", "FIRST_VALUE", "LAST_VALUE")
    )
    if name == "*" or (name.endswith("_VALUE") and not ordered):
        return Aggregate("COUNT(*)", "BIGINT", len, None)
    kind = drawing.among(NUMBERS if name in ("SUM", "AVG", "STDDEV_POP") else (*NUMBERS, "VARCHAR", "TIMESTAMP"))
    if name == "STDDEV_POP":
        kind = "DOUBLE"
    # What is added to 2³¹ has lost the digits by which it deviates.
    item = expressions.of(kind, 0 if name == "STDDEV_POP" else 1)

    def known(envs: Sequence[dict[str, Any]]) -> list[Any]:
        return [value for env in envs if (value := item.value(env)) is not None]

    if name == "DISTINCT":
        return Aggregate(f"COUNT(DISTINCT {item.sql})", "BIGINT", lambda envs: len(set(known(envs))), item)
    results: dict[str, tuple[str, Values]] = {
        "COUNT": ("BIGINT", lambda envs: len(known(envs))),
        "SUM": (_summed(item.kind), lambda envs: total(known(envs), item.kind)),
        "AVG": (_averaged(item.kind), lambda envs: mean(known(envs), item.kind)),
        "MIN": (item.kind, lambda envs: min(known(envs), default=None)),
        "MAX": (item.kind, lambda envs: max(known(envs), default=None)),
        "STDDEV_POP": ("DOUBLE", lambda envs: deviation(known(envs))),
        "FIRST_VALUE": (item.kind, lambda envs: item.value(envs[0])),
        "LAST_VALUE": (item.kind, lambda envs: item.value(envs[-1])),
    }
    kind, value = results[name]
    return Aggregate(f"{name}({item.sql})", kind, value, item)


def _summed(kind: str) -> str:
    if kind.startswith("DECIMAL"):
        return f"DECIMAL(38,{decimal_of(kind)[1]})"
    return "BIGINT" if kind in ("INTEGER", "BIGINT") else kind


def _averaged(kind: str) -> str:
    return "BIGINT" if kind == "INTEGER" else kind


@dataclass(frozen=True)
class Group:
    """A window of some rows: from `start`, out at `rt`."""

    start: int
    rt: int
    envs: list[dict[str, Any]]


def _grouped(
    drawing: Drawing,
    stream: Stream,
    windowed: Callable[[list[Row]], list[tuple[int, int, list[Row]]]],
    clause: Callable[[Sequence[Expression]], str],
    start: str | None,
) -> None:
    """`windowed` cuts the rows of a key into windows (start, time, rows); `clause` writes the keys and the window; `start` is
    the SQL of the window's beginning."""
    expressions = drawing.expressions(stream.fields("x"))
    of_keys = drawing.expressions(stream.fields("x")[:-1])  # A key of ROWTIME would be another window.
    kinds = ("VARCHAR", "INTEGER", "BOOLEAN", "VARCHAR")
    keys = [of_keys.of(drawing.among(kinds), 1) for _ in range(drawing.integer(0, 2))]
    aggregates = [aggregate(drawing, expressions, stream.ordered) for _ in range(drawing.integer(1, 4))]
    where = drawing.condition(expressions)
    fields = stream.fields("x")[:-1]
    keys = [
        key if key.nested or key.sql.startswith("x.") else drawing.among(fields) for key in keys
    ]  # 1 is an ordinal.
    if start is None and not keys:
        keys = [drawing.among(fields)]
    if any(key.sql == other.sql for number, key in enumerate(keys) for other in keys[:number]):
        keys = keys[:1]
    # A column as a key: an expression of one would have to be written again, letter for letter, which it is.
    groups: dict[tuple[Any, ...], list[Row]] = {}
    faults = 0
    seen: dict[int, dict[str, Any]] = {}
    for row in stream.rows:
        env = stream.env("x", row)
        try:
            if where is not None and not where.holds(env):
                continue
            key = tuple(each.value(env) for each in keys)
            for each in aggregates:
                if each.argument is not None:
                    each.argument.value(env)
        except Fault:
            faults += 1
            continue
        seen[id(row)] = env
        groups.setdefault(key, []).append(row)
    made = []
    for key, rows in groups.items():
        for begin, rt, inside in windowed(rows):
            envs = [seen[id(row)] for row in inside]
            made.append(Made(rt, {"key": key, "start": begin, "rt": rt, "envs": envs}))
    items = [
        Expression(key.sql, key.kind, lambda env, number=number: env["key"][number]) for number, key in enumerate(keys)
    ]
    if start is not None:
        items.append(Expression(start, "TIMESTAMP", lambda env: env["start"]))
    if drawing.integer(0, 2) == 0:
        items.append(Expression("ROWTIME", "TIMESTAMP", lambda env: env["rt"]))
    items += [Expression(a.sql, a.kind, lambda env, a=a: a.value(env["envs"]), True) for a in aggregates]
    having = None
    least = drawing.integer(0, 4)
    if least in (1, 2):
        having = Expression(f"COUNT(*) > {least}", "BOOLEAN", lambda env: len(env["envs"]) > least)
    rest = f"FROM {stream.from_} AS x{f' WHERE {where.sql}' if where else ''} {clause(keys)}"
    rest += f" HAVING {having.sql}" if having else ""
    drawing.fill(Query(items, rest, made, False, having))
    pump = next(reversed(drawing.program.faults))
    drawing.program.faults[pump] += faults


def _by(keys: Sequence[Expression], window: str) -> str:
    return f"GROUP BY {', '.join([*(key.sql for key in keys), window])}"


def tumbling(drawing: Drawing) -> None:
    stream = drawing.source()
    size = drawing.among((1_000, 7_000, 10_000, 60_000))
    window = f"STEP(x.ROWTIME BY INTERVAL '{size // 1000}' SECOND)"
    if size == 60_000:
        window = drawing.among((window, "FLOOR(x.ROWTIME TO MINUTE)"))
    if size == 10_000:
        other = "FLOOR((x.ROWTIME - TIMESTAMP '1970-01-01 00:00:00') SECOND / 10 TO SECOND)"
        if drawing.integer(0, 2) == 0:
            _grouped(drawing, stream, lambda rows: _windows(rows, size, size), lambda keys: _by(keys, other), None)
            return
    _grouped(drawing, stream, lambda rows: _windows(rows, size, size), lambda keys: _by(keys, window), window)


def hopping(drawing: Drawing) -> None:
    step = drawing.among((1_000, 3_000, 5_000))
    size = step * drawing.integer(1, 3) + drawing.among((0, 1_000))
    window = f"HOP(x.ROWTIME, INTERVAL '{step // 1000}' SECOND, INTERVAL '{size // 1000}' SECOND)"
    _grouped(drawing, drawing.source(), lambda rows: _windows(rows, step, size), lambda keys: _by(keys, window), window)


def cumulating(drawing: Drawing) -> None:
    step, count = drawing.among((1_000, 5_000)), drawing.integer(1, 4)
    size = step * count
    window = f"CUMULATE(x.ROWTIME, INTERVAL '{step // 1000}' SECOND, INTERVAL '{size // 1000}' SECOND)"

    def cut(rows: list[Row]) -> list[tuple[int, int, list[Row]]]:
        return [
            (start, end, inside)
            for start, _, every in _windows(rows, size, size)
            for end in range(start + step, start + size + 1, step)
            if (inside := [row for row in every if row.rt < end])
        ]

    _grouped(drawing, drawing.source(), cut, lambda keys: _by(keys, window), window)


def session(drawing: Drawing) -> None:
    gap = drawing.among((1_000, 4_000, 15_000))
    window = f"SESSION(x.ROWTIME, INTERVAL '{gap // 1000}' SECOND)"

    def cut(rows: list[Row]) -> list[tuple[int, int, list[Row]]]:
        found: list[list[Row]] = []
        for row in rows:
            if not found or row.rt - found[-1][-1].rt >= gap:
                found.append([])
            found[-1].append(row)
        return [(rows[0].rt, rows[-1].rt + gap, rows) for rows in found]

    _grouped(drawing, drawing.source(), cut, lambda keys: _by(keys, window), window)


def stagger(drawing: Drawing) -> None:
    length = drawing.among((1_000, 5_000, 20_000))

    def cut(rows: list[Row]) -> list[tuple[int, int, list[Row]]]:
        found: list[list[Row]] = []
        for row in rows:
            if not found or row.rt >= found[-1][0].rt + length:
                found.append([])
            found[-1].append(row)
        return [(rows[0].rt, rows[0].rt + length, rows) for rows in found]

    def clause(keys: Sequence[Expression]) -> str:
        listed = ", ".join(key.sql for key in keys)
        return f"WINDOWED BY STAGGER (PARTITION BY {listed} RANGE INTERVAL '{length // 1000}' SECOND)"

    _grouped(drawing, drawing.source(), cut, clause, None)


def _windows(rows: list[Row], step: int, size: int) -> list[tuple[int, int, list[Row]]]:
    found: dict[int, list[Row]] = {}
    for row in rows:
        last = row.rt // step * step
        for start in range(last - size // step * step - step, last + 1, step):
            if start <= row.rt < start + size:
                found.setdefault(start, []).append(row)
    return [(start, start + size, inside) for start, inside in found.items()]


def sliding(drawing: Drawing) -> None:
    """Functions over a frame, of a stream whose order is known."""
    stream = drawing.source(ordered=True)
    fields = stream.fields("x")
    expressions = drawing.expressions(fields)
    keys = [each for each in fields if family(each.kind) in ("VARCHAR", "INTEGER", "DECIMAL", "DOUBLE")]
    key = drawing.among([None, *keys])
    rows_max, span = (
        (drawing.integer(1, 3), None) if drawing.integer(0, 1) else (None, drawing.among((0, 2_000, 9_000)))
    )
    frame = "CURRENT ROW" if span == 0 else f"INTERVAL '{(span or 0) // 1000}' SECOND PRECEDING"
    frame = f"ROWS {rows_max} PRECEDING" if rows_max is not None else f"RANGE {frame}"
    functions = [aggregate(drawing, expressions, True) for _ in range(drawing.integer(1, 3))]
    if drawing.integer(0, 3) == 0:
        functions.append(_lag(drawing, expressions))
    passed = drawing.items(drawing.expressions(fields, failing=False), 0, 2)
    where = drawing.condition(expressions)
    before: list[tuple[Row, dict[str, Any]]] = []
    made, faults = [], 0
    for row in stream.rows:
        env = stream.env("x", row)
        try:
            if where is not None and not where.holds(env):
                continue
            for each in functions:
                if each.argument is not None:
                    each.argument.value(env)
        except Fault:
            faults += 1
            continue
        before.append((row, env))
        inside = [e for r, e in before if key is None or key.value(e) == key.value(env)]
        if rows_max is not None:
            inside = inside[-rows_max - 1 :]
        else:
            inside = [e for e in inside if e["x.ROWTIME"] >= row.rt - (span or 0)]
        made.append(Made(row.rt, {**env, "frame": inside}))
    over = f"OVER ({f'PARTITION BY {key.sql} ' if key else ''}{frame})"
    items = [
        *passed,
        *(Expression(f"{f.sql} {over}", f.kind, lambda env, f=f: f.value(env["frame"]), True) for f in functions),
    ]
    rest = f"FROM {stream.from_} AS x" + (f" WHERE {where.sql}" if where else "")
    drawing.fill(Query(items, rest, made, stream.ordered))
    pump = next(reversed(drawing.program.faults))
    drawing.program.faults[pump] += faults


def _lag(drawing: Drawing, expressions: Expressions) -> Aggregate:
    item, back = expressions.of(drawing.among(("INTEGER", "VARCHAR")), 0), drawing.integer(1, 2)
    return Aggregate(
        f"LAG({item.sql}, {back})",
        item.kind,
        lambda envs: item.value(envs[-back - 1]) if len(envs) > back else None,
        item,
    )


STEPS = (*analytics_random.STEPS, tumbling, hopping, cumulating, session, stagger, sliding)
