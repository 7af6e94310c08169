"""Table functions: ``TABLE(NAME(CURSOR(SELECT STREAM …), arguments))`` in FROM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from analytics.dialect import place_of
from analytics.errors import SqlError, closest
from analytics.relation import Relation

if TYPE_CHECKING:
    from analytics.lowering import Lowering

FUNCTIONS: dict[str, object] = {}


def lowered(lowering: Lowering, call: exp.Expr) -> Relation:
    name = call.name.upper() if isinstance(call, exp.Anonymous) else call.key.upper()
    raise SqlError(f"there is no table function {name}", place_of(call), suggestion=closest(name, FUNCTIONS))
