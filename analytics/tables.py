"""Table functions: ``TABLE(NAME(CURSOR(SELECT STREAM …), arguments))`` in FROM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sqlglot import exp

from analytics.dialect import place_of
from analytics.errors import SqlError, closest
from analytics.operators.buffer import Buffer
from analytics.operators.work import Operator
from analytics.relation import Relation


class Stages(Protocol):
    """Makes hidden streams and the operators between them (`analytics.lowering`)."""

    def subquery(self, tree: exp.Expr) -> Relation: ...

    def stream(self, columns: Sequence[tuple[str, str]], extra: Sequence[tuple[str, str]] = ()) -> Relation: ...

    def buffer(self, columns: Sequence[tuple[str, str]]) -> Buffer: ...

    def table(self) -> str: ...

    def operate(self, operator: Operator, target: Relation, *sources: Relation) -> None: ...


FUNCTIONS: dict[str, Callable[[Stages, exp.Expr], Relation]] = {}


def lowered(stages: Stages, call: exp.Expr) -> Relation:
    """The rows that a call gives, as a hidden stream. Raises `SqlError`."""
    name = call.name.upper() if isinstance(call, exp.Anonymous) else call.key.upper()
    function = FUNCTIONS.get(name)
    if function is None:
        raise SqlError(f"there is no table function {name}", place_of(call), suggestion=closest(name, FUNCTIONS))
    return function(stages, call)
