"""Expressions of the language as DuckDB SQL: a table from each kind of node to how it is written.

What is not in the table is refused with its name. Columns are already physical (`analytics.relation`). Where DuckDB
means something else by the same words, the language's meaning is written out:

    a / b           of integers truncates; by zero is a row error (`analytics.numbers`)
    STEP(t BY i)    counted from 1970-01-01, also for days and longer
    SUBSTRING       a start below 1 shortens the result
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from sqlglot import exp

from analytics import numbers, texts, times
from analytics.calls import CALLS, variable
from analytics.casting import CASTS, cast, exactly
from analytics.errors import SqlError, closest
from analytics.functions import STARTED
from analytics.guards import guarded, once, text
from analytics.inferred import Types
from analytics.nodes import Elapsed, Given, OnlyRow, Overloaded, Perhaps, ScriptCall, Step, SubstringSimilar
from analytics.operands import together
from analytics.places import place_of
from analytics.resolved import harmless
from analytics.types import declared, family, is_integer


class Expressions:
    """Writes expressions over one FROM (`source`: the clause in DuckDB's words, or empty). `known` are expressions that
    have been computed already, as (tree, SQL): the keys and aggregates of a grouped query."""

    def __init__(self, types: Types, source: str, known: Sequence[tuple[exp.Expr, str]] = ()) -> None:
        self._types = types
        self.source = source
        self._known = known
        self._written: dict[int, tuple[exp.Expr, str]] = {}

    def write(self, node: exp.Expr) -> str:
        """What was written is remembered: a writer may ask for an operand more than once, at every depth."""
        if id(node) not in self._written:
            self._written[id(node)] = node, self._new(node)
        return self._written[id(node)][1]

    def _new(self, node: exp.Expr) -> str:
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
        return sql, _of_literal(node) or self.type(sql, node)

    def condition(self, node: exp.Expr, where: str) -> str:
        """A tree that is true or false. Raises `SqlError` for one of another type, which DuckDB would take."""
        if isinstance(node.unnest(), exp.Predicate | exp.Connector | exp.Not | exp.Boolean):
            return self.write(node)
        sql, duck = self.typed(node)
        if family(duck) not in ("boolean", "null"):
            what = f"a {family(duck)} stands {_STANDS.get(where, 'behind')} {where}"
            raise SqlError(what, place_of(node), expected="a condition, as in x = 1")
        return sql


def _of_literal(node: exp.Expr) -> str | None:
    """The type of one whose type is plain: a list in IN may have thousands."""
    if not isinstance(node, exp.Literal):
        return None
    if node.is_string:
        return "VARCHAR"
    return "INTEGER" if node.name.isdigit() and int(node.name) < 2**31 else None


_STANDS = {"AND": "beside", "OR": "beside", "IS": "before"}


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


def _binary(sign: str) -> Callable[[Expressions, exp.Expr], str]:
    return lambda self, node: f"({self.write(node.this)} {sign} {self.write(node.expression)})"


def _connected(sign: str) -> Callable[[Expressions, exp.Expr], str]:
    return lambda self, node: f"({self.condition(node.this, sign)} {sign} {self.condition(node.expression, sign)})"


def _compared(sign: str) -> Callable[[Expressions, exp.Expr], str]:
    def write(self: Expressions, node: exp.Expr) -> str:
        left, right = together(self, (node.this, node.expression), f"{sign} does not compare {{}} with {{}}", node)
        return f"({left} {sign} {right})"

    return write


def _is(self: Expressions, node: exp.Expr) -> str:
    asked = self.write if isinstance(node.expression, exp.Null) else lambda tree: self.condition(tree, "IS")
    return f"({asked(node.this)} IS {self.write(node.expression)})"


def _nullif(self: Expressions, node: exp.Expr) -> str:
    given = together(self, (node.this, node.expression), "NULLIF does not compare {} with {}", node)
    return f"nullif({', '.join(given)})"


def _coalesce(self: Expressions, node: exp.Expr) -> str:
    given = together(self, (node.this, *node.expressions), "COALESCE is of one type, not of {} and {}", node)
    return f"coalesce({', '.join(given)})"


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
    tests = [arm.this for arm in node.args["ifs"]]
    values, default = [arm.args["true"] for arm in node.args["ifs"]], node.args.get("default")
    if node.this is None:
        subject, asked = "", [self.condition(test, "WHEN") for test in tests]
    else:
        value, *asked = together(self, (node.this, *tests), "CASE does not compare {} with {}", node)
        subject = f"{value} "
    otherwise = [] if default is None else [default]
    given = together(self, (*values, *otherwise), "CASE is of one type, not of {} and {}", node)
    arms = " ".join(f"WHEN {test} THEN {value}" for test, value in zip(asked, given, strict=False))
    return f"CASE {subject}{arms}{'' if default is None else ' ELSE ' + given[-1]} END"


def _in(self: Expressions, node: exp.Expr) -> str:
    if not node.expressions:
        raise SqlError("IN with a query is not supported", place_of(node))
    value, *items = together(self, (node.this, *node.expressions), "IN does not compare {} with {}", node)
    return f"({value} IN ({', '.join(items)}))"


def _between(self: Expressions, node: exp.Expr) -> str:
    parts = [node.args[part] for part in ("this", "low", "high")]
    value, low, high = together(self, parts, "BETWEEN does not compare {} with {}", node)
    if not node.args.get("symmetric"):
        return f"({value} BETWEEN {low} AND {high})"
    return once(lambda v, a, b: f"({v} BETWEEN {a} AND {b} OR {v} BETWEEN {b} AND {a})", value, low, high)


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
    rows = self.write(node.expression)
    return guarded(value, lambda _: f"{rows} > 1", message, duck)


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


_WRITERS: dict[type[exp.Expr], Callable[[Expressions, exp.Expr], str]] = {
    exp.Column: _column,
    exp.Literal: _literal,
    exp.Boolean: lambda self, node: "TRUE" if node.this else "FALSE",
    exp.Null: lambda self, node: "NULL",
    exp.Interval: times.literal,
    exp.Paren: lambda self, node: f"({self.write(node.this)})",
    exp.Neg: lambda self, node: f"(- {self.write(node.this)})",
    exp.Not: lambda self, node: f"(NOT {self.condition(node.this, 'NOT')})",
    exp.And: _connected("AND"),
    exp.Or: _connected("OR"),
    exp.Add: numbers.arithmetic("+"),
    exp.Sub: numbers.arithmetic("-"),
    exp.Mul: numbers.arithmetic("*"),
    exp.Div: numbers.divide,
    exp.Mod: numbers.modulo,
    exp.EQ: _compared("="),
    exp.NEQ: _compared("<>"),
    exp.LT: _compared("<"),
    exp.LTE: _compared("<="),
    exp.GT: _compared(">"),
    exp.GTE: _compared(">="),
    exp.Is: _is,
    exp.NullSafeEQ: _compared("IS NOT DISTINCT FROM"),
    exp.NullSafeNEQ: _compared("IS DISTINCT FROM"),
    exp.Like: texts.like,
    exp.Escape: texts.escape,
    exp.SimilarTo: texts.similar,
    exp.Between: _between,
    exp.In: _in,
    exp.Case: _case,
    exp.Cast: _cast,
    exp.Coalesce: _coalesce,
    exp.Nullif: _nullif,
    exp.DPipe: _binary("||"),
    exp.Upper: _function("upper"),
    exp.Lower: _function("lower"),
    exp.Length: _function("length"),
    exp.Trim: texts.trim,
    exp.Substring: texts.substring,
    exp.StrPosition: _function("strpos", "substr"),
    exp.Abs: _function("abs"),
    exp.Exp: numbers.finite("exp"),
    exp.Ln: numbers.finite("ln"),
    exp.Sqrt: numbers.finite("sqrt"),
    exp.Pow: numbers.finite("power", "expression"),
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
