"""Functions of a program (CREATE FUNCTION) are written into the expressions that call them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlglot import exp

from analytics.errors import SqlError
from analytics.nodes import CreateFunction, Given, Overloaded, ScriptCall
from analytics.places import place_of
from analytics.types import declared, family

CALLS_MAX = 1_000
"""Calls in one statement while they are written out."""
DEPTH_MAX = 32
"""Calls within calls: a function that calls itself would never end."""


def inlined(tree: exp.Expr, functions: Mapping[str, Sequence[CreateFunction]]) -> exp.Expr:
    """A copy of `tree` without calls of `functions`, which are known by their folded names. Raises `SqlError`."""
    if not functions:
        return tree
    for _ in range(DEPTH_MAX):  # with each round, calls that are written twice in a function double
        calls = [
            node for node in tree.find_all(exp.Anonymous) if type(node) is exp.Anonymous and _name(node) in functions
        ]
        if not calls:
            return tree
        if len(calls) > CALLS_MAX:
            raise SqlError(f"functions that call functions come to more than {CALLS_MAX:,} calls", place_of(calls[0]))
        tree = tree.copy().transform(lambda node: _called(node, functions), copy=False)
    raise SqlError(f"function {_name(calls[0])} calls itself", place_of(calls[0]))


def _name(node: exp.Anonymous) -> str:
    quoted = isinstance(node.this, exp.Identifier) and node.this.args.get("quoted")
    return str(node.name if quoted else node.name.upper())


def _called(node: exp.Expr, functions: Mapping[str, Sequence[CreateFunction]]) -> exp.Expr:
    if type(node) is not exp.Anonymous or _name(node) not in functions:
        return node
    overloads = functions[_name(node)]
    given = node.expressions
    fitting = [each for each in overloads if len(each.expressions) == len(given)]
    if not fitting:
        counts = " or ".join(dict.fromkeys(str(len(each.expressions)) for each in overloads))
        raise SqlError(f"function {_name(node)} is called with {len(given)} arguments", place_of(node), expected=counts)
    if len(fitting) == 1:
        return _written(node, fitting[0])
    call = Overloaded(
        name=_name(node),
        expressions=[_written(node, each) for each in fitting],
        takes=[takes(each) for each in fitting],
        given=[each.copy() for each in given],
    )
    call.meta.update(node.meta)
    return call


def takes(function: CreateFunction) -> tuple[str, ...]:
    """The families of its parameters' types, by which functions of one name are told apart."""
    return tuple(family(declared(each.args["kind"], each.this).duck) for each in function.expressions)


def _written(node: exp.Anonymous, function: CreateFunction) -> exp.Expr:
    """What stands in the place of a call."""
    values = {
        _folded(parameter.this): Given(this=argument.copy(), to=parameter.args["kind"].copy())
        for parameter, argument in zip(function.expressions, node.expressions, strict=True)
    }

    if function.args.get("physical"):
        call = ScriptCall(this=function.args["physical"], expressions=list(values.values()))
        call.meta.update(node.meta)
        return exp.Cast(this=call, to=function.args["kind"].copy())

    def filled(part: exp.Expr) -> exp.Expr:
        if isinstance(part, exp.Column) and part.args.get("table") is None and _folded(part.this) in values:
            return values[_folded(part.this)].copy()
        return part

    body = exp.Paren(this=function.args["body"].copy()).transform(filled, copy=False)
    result: exp.Expr = Given(this=body, to=function.args["kind"].copy())
    if function.args.get("strict") and values:
        missing: exp.Expr | None = None
        for value in values.values():
            test = exp.Is(this=value.copy(), expression=exp.Null())
            missing = test if missing is None else exp.Or(this=missing, expression=test)
        result = exp.Case(ifs=[exp.If(this=missing, true=exp.Null())], default=result)
    return result


def _folded(identifier: exp.Expr) -> str:
    return str(identifier.name if identifier.args.get("quoted") else identifier.name.upper())
