"""What the language has beyond sqlglot's trees: statements, and expressions of streams."""

from __future__ import annotations

from typing import ClassVar

from sqlglot import exp


class CreateStream(exp.Expression):
    """``CREATE [OR REPLACE] STREAM this (expressions, watermark)``, or with `retain` a TABLE; an expression is an
    `exp.ColumnDef`."""

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "expressions": True,
        "replace": False,
        "watermark": False,
        "retain": False,
    }


class Retaining(exp.Expression):
    """``RETAIN this KEYS, expression``: a number, an interval, or both."""

    arg_types: ClassVar[dict[str, bool]] = {"this": False, "expression": False}


class Watermark(exp.Expression):
    """``WATERMARK FOR this AS expression``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "expression": True}


class CreatePump(exp.Expression):
    """``CREATE [OR REPLACE] PUMP this AS INSERT INTO target [(expressions)] query``."""

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "target": True,
        "expressions": False,
        "query": True,
        "replace": False,
        "stopped": False,
    }


class AlterPump(exp.Expression):
    """``ALTER PUMP this START``, or STOP: `stopped`."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "stopped": True}


class Drop(exp.Expression):
    """``DROP kind this``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "kind": True}


class CreateFunction(exp.Expression):
    """``CREATE FUNCTION this (expressions) RETURNS kind … RETURN body``; `strict`: RETURNS NULL ON NULL INPUT. In another
    `language` than SQL, ``AS source``; `physical` is then its name in DuckDB. `specific` is its SPECIFIC name."""

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "expressions": False,
        "kind": True,
        "body": False,
        "strict": False,
        "language": False,
        "source": False,
        "physical": False,
        "replace": False,
        "specific": False,
    }


class CreateView(exp.Expression):
    """``CREATE VIEW this AS query``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "query": True, "replace": False}


class Step(exp.Expression, exp.Func):
    """``STEP(this BY expression)``: down to a multiple of the step."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "expression": True}
    _sql_names: ClassVar[list[str]] = ["STEP"]


class Elapsed(exp.Expression):
    """``(this) unit``, where `this` is the difference of two times: an interval."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "unit": True}


class SubstringSimilar(exp.Expression, exp.Func):
    """``SUBSTRING(this SIMILAR expression ESCAPE escape)``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "expression": True, "escape": True}
    _sql_names: ClassVar[list[str]] = ["SUBSTRING SIMILAR"]


class Cursor(exp.Expression):
    """``CURSOR(query)``, the stream that a table function reads."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True}


class ScriptCall(exp.Anonymous):
    """A call of a function in Python, whose name in DuckDB is `this`."""


class Given(exp.Cast):
    """What a program's function is given, as its parameter has it, or gives: only between types of one family."""


class Overloaded(exp.Expression, exp.Func):
    """A call of `name`, of which there are several: each with the families of the types that it `takes`, and written out in
    `expressions`. `given` are the arguments."""

    arg_types: ClassVar[dict[str, bool]] = {"name": True, "expressions": True, "takes": True, "given": True}
    _sql_names: ClassVar[list[str]] = ["OVERLOADED"]


class OnlyRow(exp.Expression):
    """`this`, of the one row that a query in an expression gives; `expression` is how many it gave."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "expression": True}


class Perhaps(exp.Expression):
    """Whether the condition `this` holds or fails: what may come to hold where it is asked again."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True}


class GroupWindow(exp.Expression, exp.Func):
    """``HOP(this, …)``, ``CUMULATE(this, …)`` and ``SESSION(this, …)``, by their `kind`, and what they begin and end with:
    ``HOP_START(this, …)``, `part` START, and ``HOP_END(this, …)``, `part` END. `expressions` are intervals."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "expressions": True, "kind": True, "part": True}
    _sql_names: ClassVar[list[str]] = ["GROUP WINDOW"]

    @property
    def whole(self) -> GroupWindow:
        """The window itself."""
        return GroupWindow(
            this=self.this.copy(),
            expressions=[each.copy() for each in self.expressions],
            kind=self.args["kind"],
            part="",
        )

    @property
    def shown(self) -> str:
        return "_".join(filter(None, (self.args["kind"], self.args["part"])))
