"""Expressions of the language as DuckDB SQL: a table from each kind of node to how it is written.

What is not in the table is refused with its name. Columns are already physical (`analytics.relation`). Where DuckDB
means something else by the same words, the language's meaning is written out:

    a / b           of integers truncates; by zero is a row error, also for DOUBLE, where DuckDB says inf
    MOD(a, 0)       a row error
    STEP(t BY i)    counted from 1970-01-01, also for days and longer
    SUBSTRING       a start below 1 shortens the result
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import duckdb
from sqlglot import exp

from analytics.dialect import Step, place_of
from analytics.errors import SqlError
from analytics.types import declared, family, is_integer

UNITS = ("SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "YEAR")
AGGREGATES = (exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max)


class Types:
    """The type that DuckDB gives an expression over some FROM: asked, not modelled."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def of(self, sql: str, source: str, node: exp.Expr) -> str:
        try:
            rows = self._connection.execute(f"DESCRIBE SELECT {sql} AS x {source}").fetchall()
        except duckdb.Error as error:
            raise SqlError(_sentence(error), place_of(node)) from error
        return str(rows[0][1])


class Expressions:
    """Writes expressions over one FROM (`source`: the clause in DuckDB's words, or empty). `known` are expressions that
    have been computed already, as (tree, SQL): the keys and aggregates of a grouped query."""

    def __init__(self, types: Types, source: str, known: Sequence[tuple[exp.Expr, str]] = ()) -> None:
        self._types = types
        self.source = source
        self._known = known

    def write(self, node: exp.Expr) -> str:
        for tree, sql in self._known:
            if node == tree:
                return sql
        writer = _WRITERS.get(type(node))
        if writer is None:
            raise _refused(node)
        return writer(self, node)

    def type(self, sql: str, node: exp.Expr) -> str:
        return self._types.of(sql, self.source, node)

    def typed(self, node: exp.Expr) -> tuple[str, str]:
        sql = self.write(node)
        return sql, self.type(sql, node)


def failing(message: str, witness: str) -> str:
    """SQL that fails with `message` when a row reaches it. `witness`, any value of the row, keeps DuckDB from computing
    it ahead of time; `error()` would do, but is volatile, and TRY takes nothing volatile."""
    text = message.replace("'", "''")
    return f"CAST(concat('{text}', left(CAST({witness} AS VARCHAR), 0)) AS INTEGER)"


def interval(node: exp.Expr) -> tuple[str, str]:
    """(amount, unit) of an interval literal."""
    unit = node.args.get("unit")
    amount = node.this
    if not isinstance(node, exp.Interval) or not isinstance(amount, exp.Literal) or not isinstance(unit, exp.Var):
        raise SqlError(
            "this interval is not supported", place_of(node), expected="INTERVAL 'n' unit, as in '60' SECOND"
        )
    name = unit.name.upper()
    if name not in UNITS:
        raise SqlError(f"{name} is no unit of time", place_of(node), expected=" or ".join(UNITS))
    if not re.fullmatch(r"[0-9]{1,9}", amount.name.strip()):
        raise SqlError(f"'{amount.name}' is no whole number of {name}", place_of(node))
    return amount.name.strip(), name


def _refused(node: exp.Expr) -> SqlError:
    if isinstance(node, exp.AggFunc):
        return SqlError(f"{_name(node)} is not supported here", place_of(node))
    if isinstance(node, exp.Func):
        return SqlError(f"the function {_name(node)} is not supported", place_of(node))
    if isinstance(node, exp.Query | exp.Subquery):
        return SqlError("a query inside an expression is not supported", place_of(node))
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(node).__name__).upper()
    return SqlError(f"{words} is not supported", place_of(node))


def _name(node: exp.Expr) -> str:
    return node.name.upper() if isinstance(node, exp.Anonymous) else str(node.sql_name())  # type: ignore[attr-defined]  # Func's


def _sentence(error: duckdb.Error) -> str:
    first = str(error).split("\n", 1)[0].strip()
    return re.sub(r"^(Binder|Catalog|Conversion|Parser|Invalid Input) Error: ", "", first).rstrip(".")


def _binary(sign: str) -> Callable[[Expressions, exp.Expr], str]:
    return lambda self, node: f"({self.write(node.this)} {sign} {self.write(node.expression)})"


def _function(name: str, *more: str) -> Callable[[Expressions, exp.Expr], str]:
    """`this` and the arguments named, where they are given."""

    def write(self: Expressions, node: exp.Expr) -> str:
        given = [node.this, *(node.args.get(key) for key in more)]
        parts = [part for each in given if each is not None for part in (each if isinstance(each, list) else [each])]
        return f"{name}({', '.join(self.write(part) for part in parts)})"

    return write


def _literal(self: Expressions, node: exp.Expr) -> str:
    return "'" + node.name.replace("'", "''") + "'" if node.args.get("is_string") else node.name


def _column(self: Expressions, node: exp.Expr) -> str:
    if self._known:
        if node.meta.get("bare"):
            return "t0.rt"  # the time of the row that comes out: the end of its window
        raise SqlError(
            f"column {node.meta.get('name', node.name)} is neither grouped nor aggregated",
            place_of(node),
            expected="it in GROUP BY or inside an aggregate",
        )
    return f"{node.args['table'].name}.{node.name}"


def _divide(self: Expressions, node: exp.Expr) -> str:
    (left, left_type), (right, right_type) = self.typed(node.this), self.typed(node.expression)
    if is_integer(left_type) and is_integer(right_type):
        return f"({left} // {right})"  # fails by itself on zero
    if isinstance(node.expression, exp.Literal) and float(node.expression.name or 0) != 0:
        return f"({left} / {right})"
    return f"CASE WHEN {right} = 0 THEN {failing('division by zero', left)} ELSE {left} / {right} END"


def _modulo(self: Expressions, node: exp.Expr) -> str:
    left, right = self.write(node.this), self.write(node.expression)
    return f"CASE WHEN {right} = 0 THEN {failing('division by zero', left)} ELSE {left} % {right} END"


def _cast(self: Expressions, node: exp.Expr) -> str:
    to = declared(node.args["to"])
    value = self.write(node.this)
    text = f"CAST({value} AS {to.duck})"
    if to.length is None:
        return text
    if family(self.type(value, node)) != "text":
        message = f"the text is longer than {to.length} characters"
        text = f"CASE WHEN length({text}) > {to.length} THEN CAST({failing(message, value)} AS VARCHAR) ELSE {text} END"
    else:
        text = f"left({text}, {to.length})"
    return f"rpad({text}, {to.length}, ' ')" if to.padded else text


def _step(self: Expressions, node: exp.Expr) -> str:
    value = self.write(node.this)
    if isinstance(node.expression, exp.Interval):
        amount, unit = interval(node.expression)
        if int(amount) == 0:
            raise SqlError("a step of nothing", place_of(node), expected="an interval of 1 or more")
        return f"CAST(time_bucket(INTERVAL '{amount} {unit}', {value}, TIMESTAMP '1970-01-01') AS TIMESTAMP_MS)"
    size = self.write(node.expression)
    if not is_integer(self.type(value, node)):
        raise SqlError("STEP of this type needs an interval", place_of(node), expected="BY INTERVAL 'n' unit")
    return f"({value} - (({value} % {size}) + {size}) % {size})"


def _rounded(name: str) -> Callable[[Expressions, exp.Expr], str]:
    """FLOOR and CEIL of a number, or of a time TO a unit."""

    def write(self: Expressions, node: exp.Expr) -> str:
        value, unit = self.write(node.this), node.args.get("to")
        if unit is None:
            return f"{name}({value})"
        if unit.name.upper() not in UNITS:
            raise SqlError(f"{unit.name} is no unit of time", place_of(node), expected=" or ".join(UNITS))
        down = f"CAST(date_trunc('{unit.name.lower()}', {value}) AS TIMESTAMP_MS)"
        if name == "floor":
            return down
        return (
            f"CAST(CASE WHEN {down} = {value} THEN {value} ELSE {down} + INTERVAL '1 {unit.name}' END AS TIMESTAMP_MS)"
        )

    return write


def _case(self: Expressions, node: exp.Expr) -> str:
    subject = "" if node.this is None else self.write(node.this) + " "
    arms = " ".join(f"WHEN {self.write(arm.this)} THEN {self.write(arm.args['true'])}" for arm in node.args["ifs"])
    default = node.args.get("default")
    return f"CASE {subject}{arms}{'' if default is None else ' ELSE ' + self.write(default)} END"


def _in(self: Expressions, node: exp.Expr) -> str:
    if not node.expressions:
        raise SqlError("IN with a query is not supported", place_of(node))
    return f"({self.write(node.this)} IN ({', '.join(self.write(item) for item in node.expressions)}))"


def _substring(self: Expressions, node: exp.Expr) -> str:
    text, start, length = self.write(node.this), node.args.get("start"), node.args.get("length")
    first = "1" if start is None else self.write(start)
    if length is None:
        return f"substring({text}, greatest({first}, 1))"
    count = self.write(length)
    return f"substring({text}, greatest({first}, 1), greatest({count} + least({first}, 1) - 1, 0))"


def _escape(self: Expressions, node: exp.Expr) -> str:
    return f"({self.write(node.this).removeprefix('(').removesuffix(')')} ESCAPE {self.write(node.expression)})"


def _interval(self: Expressions, node: exp.Expr) -> str:
    amount, unit = interval(node)
    return f"INTERVAL '{amount} {unit}'"


def _extract(self: Expressions, node: exp.Expr) -> str:
    unit, value = node.this.name.upper(), self.write(node.expression)
    if unit == "SECOND":
        return f"CAST(date_part('epoch', {value}) - floor(date_part('epoch', {value}) / 60) * 60 AS DECIMAL(5,3))"
    if unit not in UNITS:
        raise SqlError(f"{unit} is no unit of time", place_of(node), expected=" or ".join(UNITS))
    return f"CAST(date_part('{unit.lower()}', {value}) AS BIGINT)"


def _trim(self: Expressions, node: exp.Expr) -> str:
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or "BOTH").upper(), "trim")
    return _function(name, "expression")(self, node)


_WRITERS: dict[type[exp.Expr], Callable[[Expressions, exp.Expr], str]] = {
    exp.Column: _column,
    exp.Literal: _literal,
    exp.Boolean: lambda self, node: "TRUE" if node.this else "FALSE",
    exp.Null: lambda self, node: "NULL",
    exp.Interval: _interval,
    exp.Paren: lambda self, node: f"({self.write(node.this)})",
    exp.Neg: lambda self, node: f"(- {self.write(node.this)})",
    exp.Not: lambda self, node: f"(NOT {self.write(node.this)})",
    exp.And: _binary("AND"),
    exp.Or: _binary("OR"),
    exp.Add: _binary("+"),
    exp.Sub: _binary("-"),
    exp.Mul: _binary("*"),
    exp.Div: _divide,
    exp.Mod: _modulo,
    exp.EQ: _binary("="),
    exp.NEQ: _binary("<>"),
    exp.LT: _binary("<"),
    exp.LTE: _binary("<="),
    exp.GT: _binary(">"),
    exp.GTE: _binary(">="),
    exp.Is: _binary("IS"),
    exp.NullSafeEQ: _binary("IS NOT DISTINCT FROM"),
    exp.NullSafeNEQ: _binary("IS DISTINCT FROM"),
    exp.Like: _binary("LIKE"),
    exp.Escape: _escape,
    exp.Between: lambda self, node: (
        f"({self.write(node.this)} BETWEEN {self.write(node.args['low'])} AND {self.write(node.args['high'])})"
    ),
    exp.In: _in,
    exp.Case: _case,
    exp.Cast: _cast,
    exp.Coalesce: _function("coalesce", "expressions"),
    exp.Nullif: _function("nullif", "expression"),
    exp.DPipe: _binary("||"),
    exp.Upper: _function("upper"),
    exp.Lower: _function("lower"),
    exp.Length: _function("length"),
    exp.Trim: _trim,
    exp.Substring: _substring,
    exp.StrPosition: _function("strpos", "substr"),
    exp.Abs: _function("abs"),
    exp.Exp: _function("exp"),
    exp.Ln: _function("ln"),
    exp.Sqrt: _function("sqrt"),
    exp.Pow: _function("pow", "expression"),
    exp.Floor: _rounded("floor"),
    exp.Ceil: _rounded("ceil"),
    exp.Extract: _extract,
    Step: _step,
}
