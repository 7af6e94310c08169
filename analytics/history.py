"""Batch SQL over the retained log: every stream is a table.

DuckDB's own SQL, and the spellings of the streaming language beside it: SELECT STREAM, STEP(x BY INTERVAL …),
FLOOR(x TO unit), and HOP, CUMULATE and SESSION in GROUP BY. Names find streams and columns whatever their case, as in DuckDB.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import duckdb
import pyarrow as pa
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import ParseError, TokenError
from sqlglot.generators.duckdb import DuckDBGenerator
from sqlglot.parsers.duckdb import DuckDBParser
from sqlglot.tokenizer_core import Token, TokenType

from analytics import group_windows, past
from analytics.dialect import Kda
from analytics.errors import Place, SqlError, closest
from analytics.history_windows import widened
from analytics.inlining import inlined
from analytics.limits import Limits
from analytics.live import Applications, LiveTables
from analytics.loading import EXTRA, Faulty, Table, create, load
from analytics.nodes import CreateFunction, Given, Overloaded, ScriptCall, Step
from analytics.places import end_of, place_of
from analytics.program import functions_of
from analytics.scripts import Script, register
from analytics.statements import TOO_DEEP, from_sqlglot
from connectors.delivered.archive import Archive
from connectors.formats.schema import Column
from streams.sdk.client import TRIM_HORIZON, Client, Start

MEMORY_MAX = "1GB"
"""What DuckDB keeps in memory: enough for some ten million rows. Beyond it they lie in temporary files."""


_EPOCH_MS = """CREATE TEMP MACRO epoch_ms(t TIMESTAMP_MS) AS epoch_us(t) // 1000""" + "".join(
    f", (t {kind}) AS system.main.epoch_ms(t)" for kind in ("TIMESTAMP", "TIMESTAMPTZ", "TIME", "INTERVAL", "BIGINT")
)
"""DuckDB 2.0.1 has no epoch_ms of a TIMESTAMP_MS, which ROWTIME is: it raises. Each other type goes on as it was."""

_BEGINS = re.compile(r"(\s|--[^\n]*\n)*CREATE\s+(OR\s+REPLACE\s+)?FUNCTION\b", re.IGNORECASE)

_QUERIES = frozenset({"", "SELECT", "WITH", "FROM", "VALUES", "PIVOT", "UNPIVOT", "TABLE"})
"""First words of a query; none, where it begins with a bracket."""


class Historical(DuckDB):
    """DuckDB's SQL with STREAM, STEP, FLOOR … TO, and the windows of GROUP BY."""

    class Parser(DuckDBParser):
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
            **DuckDBParser.FUNCTION_PARSERS,
            "STEP": lambda self: self._step(),
            **group_windows.parsers(),
        }

        def parse(self, raw_tokens: list[Token], sql: str) -> list[exp.Expr | None]:
            return super().parse(group_windows.named(raw_tokens), sql)

        def _warn_unsupported(self) -> None:
            """What is no query is refused in words of our own."""

        def _parse_hint(self) -> exp.Hint | None:
            if self._curr.token_type == TokenType.VAR and self._curr.text.upper() == "STREAM":
                self._advance()
                return None
            return super()._parse_hint()

        def _step(self) -> exp.Expr:
            this = self._parse_bitwise()
            if not self._match_text_seq("BY"):
                self.raise_error("STEP(value BY step)")
            return Step(this=this, expression=self._parse_bitwise())

    class Generator(DuckDBGenerator):
        TRANSFORMS: ClassVar[dict[Any, Any]] = {
            **DuckDBGenerator.TRANSFORMS,
            Step: lambda self, node: self._step(node),
            ScriptCall: lambda self, node: self._script(node),
            Given: lambda self, node: self.cast_sql(node),
            exp.Floor: lambda self, node: self._rounded(node, "FLOOR"),
            exp.Ceil: lambda self, node: self._rounded(node, "CEIL"),
        }

        def _rounded(self, node: exp.Expr, name: str) -> str:
            value, unit = self.sql(node, "this"), node.args.get("to")
            if unit is None:
                return f"{name}({value})"
            down = f"date_trunc('{unit.name}', {value})"
            if name == "FLOOR":
                return down
            return f"CASE WHEN {down} = {value} THEN {value} ELSE {down} + INTERVAL '1 {unit.name}' END"

        def _script(self, node: exp.Expr) -> str:
            return f"{node.name}({', '.join(self.sql(each) for each in node.expressions)})"

        def _step(self, node: exp.Expr) -> str:
            value, step = self.sql(node, "this"), self.sql(node, "expression")
            if isinstance(node.args["expression"], exp.Interval):
                return f"time_bucket({step}, {value}, TIMESTAMP '1970-01-01')"
            return f"({value} - (({value} % {step}) + {step}) % {step})"


async def query(
    sql: str,
    client: Client,
    *,
    columns: Mapping[str, Sequence[Column]] | None = None,
    rowtime: Mapping[str, str] | None = None,
    start: Start = TRIM_HORIZON,
    faulty: Faulty | None = None,
    parameters: Mapping[str, object] | None = None,
    applications: Applications | None = None,
    history: Mapping[str, Archive] | None = None,
) -> pa.Table:
    """The result of one query over what the streams hold now, from `start` on. `parameters` are the values of ``$name``.

    `columns` declares the columns of a stream, by its name; others are found in its first records. `rowtime` names the
    column that is a stream's ROWTIME instead of the arrival. Only columns that the query names are decoded, and records
    that do not fit them are left out, of which `faulty` is told: the stream, how many of a fetch, and why the first.
    Each stream is read once. A name with another before it is a table of one of the `applications`. `history` has what a stream no
    longer holds, by its name, open. Raises `SqlError`.
    """
    try:
        told = faulty or (lambda *_: None)
        source = _Source(client, columns or {}, rowtime or {}, start, history or {})
        return await _query(sql, source, told, parameters or {}, applications)
    except RecursionError:
        raise SqlError(TOO_DEEP) from None


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the streams are, and what is said of them by their names."""

    client: Client
    columns: Mapping[str, Sequence[Column]]
    rowtime: Mapping[str, str]
    start: Start
    history: Mapping[str, Archive]

    async def columns_of(self, stream: str) -> list[Column]:
        given = self.columns.get(stream)
        return list(given if given is not None else await past.discover(self.client, stream, self.history.get(stream)))

    async def load(self, connection: duckdb.DuckDBPyConnection, table: Table, faulty: Faulty) -> None:
        history = self.history.get(table.stream)
        if history is not None:
            history.look_for({past.key_of(column) for column in table.columns})
        await load(connection, table, past.reaching(self.client, history), self.start, faulty)


async def _query(
    sql: str,
    source: _Source,
    faulty: Faulty,
    parameters: Mapping[str, object],
    applications: Applications | None,
) -> pa.Table:
    functions, scripts, sql = _functions(sql)
    tree = inlined(_shown(_parsed(sql), functions), functions)
    overloaded = tree.find(Overloaded)
    if overloaded is not None:
        what = f"a batch query tells functions {overloaded.args['name']} apart by the number of their parameters only"
        raise SqlError(what, place_of(overloaded), expected="another name for one of them")
    asked = {found.name: found for found in tree.find_all(exp.Parameter, exp.Placeholder)}
    for name in sorted(asked.keys() - parameters.keys()):
        what = f"there is no value for ${name}" if name.isidentifier() else "a parameter has a name, as in $carrier"
        raise SqlError(what, _at(sql, max(sql.find(f"${name}"), 0)), suggestion=closest(name, list(parameters)))
    with tempfile.TemporaryDirectory(prefix="headrace-query-") as folder:
        connection = duckdb.connect(config={"memory_limit": MEMORY_MAX, "temp_directory": folder})
        try:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(_EPOCH_MS)
            register(connection, scripts, Limits())
            tables, known, live = await _tables(tree, source, applications)
            for table in tables:
                create(connection, table)
            live.create(connection)
            tree = widened(tree, Historical)
            statement, given = tree.sql(dialect=Historical), {name: parameters[name] for name in asked}
            _check(connection, statement, given, tree, known)
            for table in tables:
                await source.load(connection, table, faulty)
            await live.load(connection)
            return await asyncio.to_thread(_run, connection, statement, given)
        finally:
            connection.close()


def _functions(sql: str) -> tuple[dict[str, list[CreateFunction]], list[Script], str]:
    """The functions that are created before the query, those of them in Python, and the text without them."""
    if _BEGINS.match(sql) is None:
        return {}, [], sql
    try:
        tokens = Kda().tokenize(sql)
    except TokenError:
        return {}, [], sql  # the query's own strings need not be the language's
    cut, begins = 0, True
    for index, token in enumerate(tokens):
        if begins and "FUNCTION" not in [each.text.upper() for each in tokens[index : index + 4]]:
            break
        begins = token.token_type == TokenType.SEMICOLON
        cut = token.end + 1
    functions, scripts = functions_of(sql[:cut])
    return functions, scripts, re.sub(r"[^\n]", " ", sql[:cut]) + sql[cut:]


def _shown(tree: exp.Expr, functions: Mapping[str, object]) -> exp.Expr:
    """What is selected is called as it is written, and not as the functions in it are."""
    for item in tree.expressions if functions and isinstance(tree, exp.Select) else ():
        if not isinstance(item, exp.Alias | exp.Column | exp.Star):
            item.replace(exp.alias_(item.copy(), item.sql(dialect=Historical), quoted=True))
    return tree


def _parsed(sql: str) -> exp.Expr:
    try:
        trees = [tree for tree in Historical().parse(sql) if tree is not None and not isinstance(tree, exp.Semicolon)]
    except TokenError as error:
        raise SqlError("the text ends inside a quoted name, a string or a comment", end_of(sql)) from error
    except ParseError as error:
        raise (from_sqlglot(error, sql) if _first_word(sql)[0].upper() in _QUERIES else _no_query(sql)) from error
    if len(trees) > 1:
        raise SqlError("a batch query is one SELECT, and this belongs to another statement", place_of(trees[1]))
    if not trees or not isinstance(trees[0], exp.Query):
        raise _no_query(sql)
    if not all(select.expressions for select in trees[0].find_all(exp.Select)):
        raise SqlError(
            "a SELECT says nothing of what it selects", place_of(trees[0]) or end_of(sql), expected="columns or *"
        )
    return trees[0]


def _no_query(sql: str) -> SqlError:
    """What is wrong with a text that begins with something else than a query."""
    word, index = _first_word(sql)
    near = closest(word, ("SELECT", "WITH"))
    return SqlError(
        "a batch query is one SELECT", _at(sql, index), found=word or None, expected="SELECT", suggestion=near
    )


def _first_word(sql: str) -> tuple[str, int]:
    """And where it begins."""
    word = re.match(r"(?:\s|;|--[^\n]*)*(\w*)", sql)
    assert word is not None, "it matches the empty text"
    return word[1], word.start(1)


def _at(sql: str, index: int) -> Place:
    """Where the character is."""
    before = sql[:index]
    return Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


async def _tables(
    tree: exp.Expr, source: _Source, applications: Applications | None
) -> tuple[list[Table], set[str], LiveTables]:
    """The streams that the query names, the names of all columns, and the tables of applications; the tree is changed to name
    them as DuckDB will."""
    known: set[str] = set()
    common = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    every = tree.find(exp.Columns) or any(not isinstance(star.parent, exp.Count) for star in tree.find_all(exp.Star))
    wanted = None if every else {name.name.lower() for name in tree.find_all(exp.Identifier)}
    found: dict[str, Table] = {}
    live = LiveTables(applications, wanted)
    names: Sequence[str] | None = None
    for table in list(tree.find_all(exp.Table)):
        if not isinstance(table.this, exp.Identifier) or table.name.lower() in common:
            continue
        if table.args.get("db") is not None and table.args.get("catalog") is None:
            _renamed(table, (await live.find(table)).physical)
            continue
        names = await source.client.list_streams() if names is None else names
        stream = _stream(table, names)
        if stream not in found:
            listed = await source.columns_of(stream)
            time = source.rowtime.get(stream)
            known |= {column.name for column in listed} | set(EXTRA)
            kept = [c for c in listed if wanted is None or c.name.lower() in wanted or c.name == time]
            taken = {column.name.lower() for column in listed}
            extra = [n for n in EXTRA if n.lower() not in taken and (wanted is None or n.lower() in wanted)]
            found[stream] = Table(stream, f"stream_{len(found)}", kept, time, extra)
        _renamed(table, found[stream].physical)
    return list(found.values()), known | live.columns(), live


def _renamed(table: exp.Table, physical: str) -> None:
    """The query goes on to call it as it did."""
    if not table.alias:
        table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
    table.set("db", None)
    table.set("this", exp.to_identifier(physical))


def _stream(table: exp.Table, names: Sequence[str]) -> str:
    if table.name in names:
        return table.name
    same = [name for name in names if name.lower() == table.name.lower()]
    if len(same) == 1:
        return same[0]
    raise SqlError(f"there is no stream {table.name}", place_of(table), suggestion=closest(table.name, names))


_NO_COLUMN = re.compile(
    r'Referenced column "(.+?)" not found|does not have a column named "(.+?)"|column "(.+?)" .*not found'
)
_NO_FUNCTION = re.compile(r"Function with name \"?([^ \"]+)\"? does not exist")


def _check(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, object], tree: exp.Expr, known: set[str]
) -> None:
    """Lets DuckDB look at the query before anything is read. `known` are the columns that there are. Raises `SqlError`."""
    try:
        connection.sql(sql, params=dict(parameters) or None)
    except duckdb.Error as error:
        message = str(error).split("\n", 1)[0]
        column, function = _NO_COLUMN.search(message), _NO_FUNCTION.search(message)
        if column is not None:
            name = next(group for group in column.groups() if group)
            raise SqlError(f"there is no column {name}", _place(tree, name), suggestion=_near(name, known)) from error
        if function is not None:
            name = function[1]
            every = connection.execute("SELECT DISTINCT function_name FROM duckdb_functions()").fetchall()
            near = _near(name, {each for (each,) in every if each.isidentifier()})
            raise SqlError(f"there is no function {name}", _place(tree, name), suggestion=near) from error
        named = re.search(r'"([^"]+)"', message)
        raise SqlError(_plain(message), None if named is None else _place(tree, named[1])) from error


def _near(name: str, among: set[str]) -> str | None:
    near = closest(name, among)
    plain = near.strip('"') if near is not None else ""
    return plain if plain.isidentifier() else near


def _place(tree: exp.Expr, name: str) -> Place | None:
    """Where the query has a name."""
    for node in tree.find_all(exp.Column, exp.Func):
        if isinstance(node, exp.Column):
            for part in (node.this, node.args.get("table")):
                if part is not None and part.name.lower() == name.lower():
                    return place_of(part)
        elif isinstance(node, exp.Func):
            called = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
            if called.lower() == name.lower():
                return place_of(node)
    return None


def _plain(message: str) -> str:
    return re.sub(r"^[A-Za-z ]+ Error: ", "", message).rstrip(".!")


def _run(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, object]) -> pa.Table:
    try:
        return connection.sql(sql, params=dict(parameters) or None).to_arrow_table()
    except duckdb.Error as error:
        own = re.search(r"while executing the UDF: (?:ValueError|TimeIsUp): (.*)", str(error))
        text = own[1] if own is not None else str(error).split("\n\n", 1)[0].replace("\n", " ")
        raise SqlError(text) from error
