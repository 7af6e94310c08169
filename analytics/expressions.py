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

from analytics import decimals, texts, times
from analytics.calls import CALLS, variable
from analytics.casting import CASTS, cast, exactly
from analytics.errors import SqlError, closest
from analytics.functions import STARTED
from analytics.guards import failing, guarded, text
from analytics.nodes import Elapsed, Given, OnlyRow, Overloaded, Perhaps, ScriptCall, Step, SubstringSimilar
from analytics.places import place_of
from analytics.resolved import harmless
from analytics.types import declared, family, is_integer


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

    def may_miss(self, alias: str) -> bool:
        """Whether an outer join may have no row for it."""
        return re.search(rf"LEFT JOIN (\w+|LATERAL .*\)) AS {alias} ON\b", self.source) is not None

    def type(self, sql: str, node: exp.Expr) -> str:
        return self._types.of(sql, self.source, node)

    def typed(self, node: exp.Expr) -> tuple[str, str]:
        sql = self.write(node)
        return sql, self.type(sql, node)

    def condition(self, node: exp.Expr, where: str) -> str:
        """A tree that is true or false. Raises `SqlError` for one of another type, which DuckDB would take."""
        if isinstance(node.unnest(), exp.Predicate | exp.Connector | exp.Not | exp.Boolean):
            return self.write(node)
        sql, duck = self.typed(node)
        if family(duck) not in ("boolean", "null"):
            what = f"a {family(duck)} stands behind {where}"
            raise SqlError(what, place_of(node), expected="a condition, as in x = 1")
        return sql


def _refused(node: exp.Expr) -> SqlError:
    if isinstance(node, exp.AggFunc):
        return SqlError(f"{_name(node)} is not supported here", place_of(node))
    if isinstance(node, exp.Func):
        return SqlError(f"the function {_name(node)} is not supported", place_of(node))
    if isinstance(node, exp.Filter):
        expected = "CASE WHEN condition THEN value END in the aggregate"
        return SqlError("FILTER is not supported", place_of(node), expected=expected)
    if isinstance(node, exp.Query | exp.Subquery):
        return SqlError("a query inside an expression is not supported", place_of(node))
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(node).__name__).upper()
    return SqlError(f"{words} is not supported", place_of(node))


def _name(node: exp.Expr) -> str:
    return node.name.upper() if isinstance(node, exp.Anonymous) else str(node.sql_name())  # type: ignore[attr-defined]  # Func's


_NO_FUNCTION = re.compile(r"No function matches the given name and argument types '(.+?)\((.*)\)'")
_NO_BEST = re.compile(r'Could not choose a best candidate function for the function call "(.+?)\((.*)\)"')
_NAMES = {"length": "CHAR_LENGTH", "~~": "LIKE", "strpos": "POSITION"}
_TYPES = {"TIMESTAMP_MS": "TIMESTAMP", "STRING_LITERAL": "VARCHAR", "INTEGER_LITERAL": "INTEGER", "BLOB": "VARBINARY"}


def _sentence(error: duckdb.Error) -> str:
    first = str(error).split("\n", 1)[0].strip()
    found = _NO_FUNCTION.search(first) or _NO_BEST.search(first)
    if found is not None:
        name = _NAMES.get(found[1]) or found[1].removeprefix("kda_").upper()
        taken = [_TYPES.get(each.strip(), each.strip()) for each in re.split(r",(?![^(]*\))", found[2])]
        return f"{name} does not take {' and '.join(taken)}: expected a CAST"
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
    return text(node.name) if node.args.get("is_string") else node.name


def _column(self: Expressions, node: exp.Expr) -> str:
    if self._known:
        if node.meta.get("bare"):
            return "t0.rt"  # the time of the row that comes out: the end of its window
        raise SqlError(
            f"column {node.meta.get('name', node.name)} is neither grouped nor aggregated",
            place_of(node),
            expected="it in GROUP BY or inside an aggregate",
        )
    name = f"{node.args['table'].name}.{node.name}"
    if harmless(node.root()) or not self.may_miss(node.args["table"].name):
        return name
    # Of rows none of which meets one DuckDB has a single NULL, beside which it does not compute what would fail.
    return f"list_extract([{name}], CAST(t0.rt IS NOT NULL AS INTEGER))"


def _divide(self: Expressions, node: exp.Expr) -> str:
    (left, left_type), (right, right_type) = self.typed(node.this), self.typed(node.expression)
    if is_integer(left_type) and is_integer(right_type):
        return f"({left} // {right})"  # fails by itself on zero
    exact = decimals.quotient(left, left_type, right, right_type)
    if exact is not None:
        return exact
    quotient = f"({left} / {right})"
    if _is_not_zero(node.expression):
        return quotient
    return f"CASE WHEN {right} = 0 AND {left} IS NOT NULL THEN {failing('division by zero', left)} ELSE {quotient} END"


def _is_not_zero(divisor: exp.Expr) -> bool:
    return isinstance(divisor, exp.Literal) and not divisor.is_string and float(divisor.name) != 0


def _modulo(self: Expressions, node: exp.Expr) -> str:
    (left, left_type), (right, right_type) = self.typed(node.this), self.typed(node.expression)
    if not is_integer(left_type) or not is_integer(right_type):
        raise SqlError("MOD takes whole numbers", place_of(node))
    if _is_not_zero(node.expression):
        return f"({left} % {right})"
    by_zero = f"{right} = 0 AND {left} IS NOT NULL"
    return f"CASE WHEN {by_zero} THEN {failing('division by zero', left)} ELSE {left} % {right} END"


def _cast(self: Expressions, node: exp.Expr) -> str:
    given = node.args["to"].this
    if isinstance(given, exp.Interval):
        return times.to_interval(self, node, given.args.get("unit"))
    to = declared(node.args["to"], node)
    value, duck = self.typed(node.this)
    if family(to.duck) not in CASTS.get(family(duck), ()):
        shown, kind = str(to), family(duck)
        instead = {("timestamp", "number"): "UNIX_TIMESTAMP(…)", ("number", "timestamp"): "TO_TIMESTAMP(…)"}
        what = f"a value of the type {kind} cannot be CAST to {shown}"
        raise SqlError(what, place_of(node.this) or place_of(node), expected=instead.get((kind, family(to.duck))))
    if duck == "INTERVAL":
        if family(to.duck) == "text":
            return cast(times.shown(node.this, value), "INTERVAL", to)
        counted = times.counted(node.this, value)
        return f"CAST({f'trunc({counted})' if is_integer(to.duck) else counted} AS {to.duck})"
    if (family(duck), family(to.duck)) == ("time", "timestamp"):
        return exactly(f"CAST({variable(STARTED)} AS DATE) + {value}", to)
    return cast(value, duck, to)


def _case(self: Expressions, node: exp.Expr) -> str:
    subject = "" if node.this is None else self.write(node.this) + " "
    for arm in node.args["ifs"] if node.this is None else ():
        self.condition(arm.this, "WHEN")
    arms = " ".join(f"WHEN {self.write(arm.this)} THEN {self.write(arm.args['true'])}" for arm in node.args["ifs"])
    default = node.args.get("default")
    return f"CASE {subject}{arms}{'' if default is None else ' ELSE ' + self.write(default)} END"


def _in(self: Expressions, node: exp.Expr) -> str:
    if not node.expressions:
        raise SqlError("IN with a query is not supported", place_of(node))
    return f"({self.write(node.this)} IN ({', '.join(self.write(item) for item in node.expressions)}))"


def _between(self: Expressions, node: exp.Expr) -> str:
    value, low, high = (self.write(node.args[part]) for part in ("this", "low", "high"))
    if not node.args.get("symmetric"):
        return f"({value} BETWEEN {low} AND {high})"
    return f"({value} BETWEEN {low} AND {high} OR {value} BETWEEN {high} AND {low})"


def _bytes(self: Expressions, node: exp.Expr) -> str:
    digits = str(node.this)
    if not re.fullmatch(r"([0-9A-Fa-f]{2})*", digits):
        raise SqlError(f"X'{digits}' is no bytes", place_of(node), expected="two hexadecimal digits for each")
    return f"unhex({text(digits)})"


def _field(self: Expressions, node: exp.Expr) -> str:
    row, duck = self.typed(node.this)
    name = node.expression.name
    names = re.findall(r'[(,] ?"?([^",(]+?)"? [A-Z]', duck) if duck.startswith("STRUCT") else []
    if name not in names:
        what = f"the row has no column {name}" if names else f"{name} is read of a {family(duck)}, which has no columns"
        raise SqlError(what, place_of(node), expected=", ".join(names) or None, suggestion=closest(name, names))
    return f"struct_extract({row}, {text(name)})"


def _given(self: Expressions, node: exp.Expr) -> str:
    to = declared(node.args["to"], node)
    value, duck = self.typed(node.this)
    if family(duck) not in (family(to.duck), "null"):
        what = f"a {family(duck)} stands where the function has {to}"
        raise SqlError(what, place_of(node.this), expected="a CAST")
    return cast(value, duck, to)


def _overloaded(self: Expressions, node: exp.Expr) -> str:
    kinds = [family(self.typed(each)[1]) for each in node.args["given"]]
    for tree, takes in zip(node.expressions, node.args["takes"], strict=True):
        if all(kind in (taken, "null") for kind, taken in zip(kinds, takes, strict=True)):
            return self.write(tree)
    known = " or ".join(f"({', '.join(takes)})" for takes in node.args["takes"])
    raise SqlError(f"there is no function {node.args['name']} ({', '.join(kinds)})", place_of(node), expected=known)


def _script(self: Expressions, node: exp.Expr) -> str:
    return f"{node.name}({', '.join(self.write(each) for each in node.expressions)})"


def _perhaps(self: Expressions, node: exp.Expr) -> str:
    return f"coalesce(TRY(coalesce({self.write(node.this)}, FALSE)), TRUE)"


def _only_row(self: Expressions, node: exp.Expr) -> str:
    value, duck = self.typed(node.this)
    message = "a query inside an expression gives more than one row"
    return guarded(value, f"{self.write(node.expression)} > 1", message, duck)


def _call(self: Expressions, node: exp.Expr) -> str:
    name = node.name.upper()
    if name == "EXP_AVG":
        what = "EXP_AVG looks at rows of a sliding window"
        raise SqlError(what, place_of(node), expected="EXP_AVG(x, INTERVAL 'n' unit) OVER (… PRECEDING)")
    if name not in CALLS:
        near = closest(name, [*CALLS, *KNOWN])
        raise SqlError(f"the function {name} is not supported", place_of(node), suggestion=near)
    least, most, writer = CALLS[name]
    if not least <= len(node.expressions) <= most:
        expected = str(least) if least == most else f"{least} to {most}"
        raise SqlError(f"{name} takes {expected} arguments, not {len(node.expressions)}", place_of(node))
    return writer(self, node, node.expressions)


def _finite(name: str, *more: str, above: float | None = None) -> Callable[[Expressions, exp.Expr], str]:
    """A function of DOUBLE whose result may be no number: then the row fails."""
    call = _function(name, *more)

    def write(self: Expressions, node: exp.Expr) -> str:
        duck = self.typed(node.this)[1]
        if family(duck) not in ("number", "null"):
            raise SqlError(f"{name.upper()} of {family(duck)}", place_of(node), expected="a number")
        result = f"CAST({call(self, node)} AS DOUBLE)"
        bad = f"NOT isfinite({result})"
        return guarded(result, bad, f"{name.upper()}: numeric overflow or no number", "DOUBLE")

    return write


_WRITERS: dict[type[exp.Expr], Callable[[Expressions, exp.Expr], str]] = {
    exp.Column: _column,
    exp.Literal: _literal,
    exp.Boolean: lambda self, node: "TRUE" if node.this else "FALSE",
    exp.Null: lambda self, node: "NULL",
    exp.Interval: times.literal,
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
    exp.Like: texts.like,
    exp.Escape: texts.escape,
    exp.SimilarTo: texts.similar,
    exp.Between: _between,
    exp.In: _in,
    exp.Case: _case,
    exp.Cast: _cast,
    exp.Coalesce: _function("coalesce", "expressions"),
    exp.Nullif: _function("nullif", "expression"),
    exp.DPipe: _binary("||"),
    exp.Upper: _function("upper"),
    exp.Lower: _function("lower"),
    exp.Length: _function("length"),
    exp.Trim: texts.trim,
    exp.Substring: texts.substring,
    exp.StrPosition: _function("strpos", "substr"),
    exp.Abs: _function("abs"),
    exp.Exp: _finite("exp"),
    exp.Ln: _finite("ln"),
    exp.Sqrt: _finite("sqrt"),
    exp.Pow: _finite("power", "expression"),
    exp.Floor: times.rounded("floor"),
    exp.Ceil: times.rounded("ceil"),
    exp.Extract: times.extract,
    exp.UnicodeString: texts.unicode,
    exp.HexString: _bytes,
    exp.Overlay: texts.overlay,
    exp.Dot: _field,
    exp.Anonymous: _call,
    exp.CurrentTimestamp: lambda self, node: variable(STARTED),
    exp.CurrentDate: lambda self, node: f"CAST({variable(STARTED)} AS DATE)",
    exp.CurrentTime: lambda self, node: f"CAST({variable(STARTED)} AS TIME)",
    exp.Localtimestamp: lambda self, node: variable(STARTED),
    exp.Localtime: lambda self, node: f"CAST({variable(STARTED)} AS TIME)",
    SubstringSimilar: texts.substring_similar,
    Elapsed: times.elapsed,
    Given: _given,
    Overloaded: _overloaded,
    OnlyRow: _only_row,
    Perhaps: _perhaps,
    ScriptCall: _script,
    Step: times.step,
}

KNOWN = (
    "ABS",
    "CEIL",
    "CHAR_LENGTH",
    "COALESCE",
    "EXP",
    "EXTRACT",
    "FLOOR",
    "LN",
    "LOG10",
    "LOWER",
    "MOD",
    "NULLIF",
    "OVERLAY",
    "POSITION",
    "POWER",
    "SQRT",
    "STEP",
    "SUBSTRING",
    "TRIM",
    "UPPER",
)
"""Functions that have a node of their own: for guesses at what was meant."""
