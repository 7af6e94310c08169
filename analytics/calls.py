"""Functions that are known by their name alone, as DuckDB SQL: a table from names to how they are written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from sqlglot import exp

from analytics import operands
from analytics.casting import from_text
from analytics.errors import SqlError
from analytics.functions import NOW, STARTED, dates, fast_regex, logs, patterns
from analytics.guards import Writes, failing, text
from analytics.nodes import CreateStream
from analytics.numbers import finite_only
from analytics.places import place_of
from analytics.statements import parse_statements
from analytics.types import SqlType, declared, family

COLUMN_SIZE = 1024
"""Characters of a column that a log parser gives, unless it is declared."""

COLUMNS_MAX = 1_000
"""Columns that a log parser makes of a line: far above what people write."""

Writer = Callable[[Writes, exp.Expr, list[exp.Expr]], str]


def milliseconds(sql: str, duck: str) -> str:
    """Milliseconds since 1970 of a time; a number is milliseconds already."""
    if family(duck) == "number":
        return f"CAST({sql} AS BIGINT)"
    if family(duck) == "time":
        return f"epoch_ms(CAST(DATE '1970-01-01' + {sql} AS TIMESTAMP))"
    return f"epoch_ms(CAST({sql} AS TIMESTAMP))"


def _instant(self: Writes, node: exp.Expr, given: exp.Expr, *, number: bool = False) -> str:
    """The milliseconds of an argument that is a time; with `number`, it may be milliseconds already."""
    sql, duck = self.typed(given)
    if family(duck) not in ("timestamp", "date", "time", "null", *(["number"] if number else [])):
        what = f"{node.name.upper()} of a {family(duck)}"
        raise SqlError(
            what, place_of(given) or place_of(node), expected="a TIMESTAMP" + (" or milliseconds" if number else "")
        )
    return milliseconds(sql, duck)


def time_of(milliseconds: str) -> str:
    return f"CAST(make_timestamp_ms({milliseconds}) AS TIMESTAMP_MS)"


def variable(name: str) -> str:
    return f"getvariable('{name}')"


def _literal(node: exp.Expr, what: str) -> str:
    if not isinstance(node, exp.Literal) or not node.is_string:
        raise SqlError(f"{what} is a text in quotes", place_of(node), expected="'…'")
    return str(node.name)


def _checked(node: exp.Expr, check: Callable[[str], object], what: str) -> None:
    """A literal is checked before anything runs; anything else when it is computed."""
    if isinstance(node, exp.Literal):
        try:
            check(_literal(node, what))
        except ValueError as error:
            raise SqlError(str(error), place_of(node)) from error


def _log10(self: Writes, node: exp.Expr, given: list[exp.Expr]) -> str:
    return finite_only(f"CAST(log10({operands.number(self, given[0], 'LOG10', node)}) AS DOUBLE)", "LOG10")


def _parsed(wrap: str) -> Writer:
    def write(self: Writes, node: exp.Expr, given: list[exp.Expr]) -> str:
        _checked(given[0], dates.check_parse, "the format")
        form, value = (operands.string(self, each, node.name.upper(), node) for each in given)
        return wrap.format(time_of(f"kda_parse_time({form}, {value})"))

    return write


def _formatted(self: Writes, node: exp.Expr, given: list[exp.Expr]) -> str:
    _checked(given[0], dates.check, "the format")
    form = operands.string(self, given[0], node.name.upper(), node)
    return f"kda_format_time({form}, {_instant(self, node, given[1])})"


def _difference(self: Writes, node: exp.Expr, given: list[exp.Expr]) -> str:
    left, right = (_instant(self, node, each, number=True) for each in given)
    return f"({left} - {right})"


_FROM_ALL = (exp.Literal.number(1), exp.Literal.number(0))
"""Where REGEX_REPLACE begins, and which match it replaces, where it is not said: all."""


def _regex_replace(self: Writes, node: exp.Expr, given: list[exp.Expr]) -> str:
    _checked(given[1], patterns.compiled, "the pattern")
    value, pattern, replacement = (operands.string(self, each, "REGEX_REPLACE", node) for each in given[:3])
    start, occurrence = (
        operands.number(self, each, "REGEX_REPLACE", node) for each in [*given[3:], *_FROM_ALL[len(given) - 3 :]]
    )
    return (
        f"kda_regex_replace({value}, {pattern}, {replacement}, CAST({start} AS BIGINT), CAST({occurrence} AS BIGINT))"
    )


def _record(found: str, values: Sequence[tuple[str, str]]) -> str:
    """A row of values over the list ``found``; NULL where that is NULL."""
    listed = ", ".join(f"{text(name)}: {sql.format(found)}" for name, sql in values)
    return f"CASE WHEN {found} IS NULL THEN NULL ELSE {{{listed}}} END"


def _columns(count: int) -> list[tuple[str, str]]:
    return [(f"COLUMN{i}", f"left({{0}}[{i}], {COLUMN_SIZE})") for i in range(1, count + 1)]


def _regex_log(self: Writes, node: exp.Expr, given: list[exp.Expr]) -> str:
    _checked(given[1], patterns.compiled, "the pattern")
    pattern = _literal(given[1], "the pattern")
    count = patterns.compiled(pattern).groups
    if count == 0:
        raise SqlError("the pattern has no group in parentheses: there would be no column", place_of(given[1]))
    return _record(f"kda_regex_log({self.write(given[0])}, {text(pattern)})", _columns(count))


def _fast_regex_log(self: Writes, node: exp.Expr, given: list[exp.Expr]) -> str:
    pattern = _literal(given[1], "the pattern")
    try:
        count = len(fast_regex.compiled(pattern).columns)
    except ValueError as error:
        raise SqlError(str(error), place_of(given[1])) from error
    if count == 0:
        raise SqlError("the pattern has no group in parentheses: there would be no column", place_of(given[1]))
    return _record(f"kda_fast_regex_log({self.write(given[0])}, {text(pattern)})", _columns(count))


def _w3c(self: Writes, node: exp.Expr, given: list[exp.Expr]) -> str:
    name = _literal(given[1], "the format")
    count = len(logs.w3c_specifiers(name))
    if count == 0:
        raise SqlError(f"{name!r} is no format of a log", place_of(given[1]), expected=", ".join(logs.W3C_FORMATS))
    return _record(f"kda_w3c({self.write(given[0])}, {text(name)})", _columns(count))


def _syslog(self: Writes, node: exp.Expr, given: list[exp.Expr]) -> str:
    found = f"kda_syslog({self.write(given[0])}, epoch_ms(CAST(t0.rt AS TIMESTAMP)))"
    return _record(found, [("COLUMN1", "CAST({0}[1] AS TIMESTAMP_MS)"), ("COLUMN2", f"left({{0}}[2], {COLUMN_SIZE})")])


_DECLARED = re.compile(
    r"""\s*("(?:[^"]|"")+"|\w+)\s+TYPE\s+(\w+(?:\s+PRECISION)?(?:\s*\([\d\s,]+\))?)\s*(?:'((?:[^']|'')*)')?\s*(NOT\s+NULL)?
        \s*(?:START\s+(\d+)\s*(?:FOR\s+(\d+))?)?\s*(?:,|$)""",
    re.IGNORECASE | re.VERBOSE,
)


def _declared(node: exp.Expr) -> list[tuple[str, SqlType, str | None, bool, int | None, int | None]]:
    """``A TYPE VARCHAR(16), B TYPE TIMESTAMP 'fmt' NOT NULL START 3 FOR 2`` as (name, type, format, NOT NULL, start, size)."""
    given, index, found = _literal(node, "the list of columns"), 0, []
    while index < len(given.rstrip()):
        match = _DECLARED.match(given, index)
        if match is None:
            raise SqlError(
                f"the list of columns does not read at {given[index : index + 30]!r}",
                place_of(node),
                expected="name TYPE type, …",
            )
        name = match[1][1:-1].replace('""', '"') if match[1].startswith('"') else match[1].upper()
        (statement,) = parse_statements(f"CREATE STREAM x (c {match[2]})")
        assert isinstance(statement, CreateStream)
        kind = declared(statement.expressions[0].args["kind"], node)
        start, size = (None if match[i] is None else int(match[i]) for i in (5, 6))
        found.append((name, kind, match[3], match[4] is not None, start, size))
        index = match.end()
    if not found:
        raise SqlError("the list of columns is empty", place_of(node), expected="name TYPE type, …")
    return found


def _typed(value: str, name: str, kind: SqlType, form: str | None, required: bool) -> str:
    if form is not None and family(kind.duck) in ("timestamp", "date", "time"):
        cast = f"CAST({time_of(f'kda_parse_time({text(form)}, {value})')} AS {kind.duck})"
    else:
        cast = from_text(value if kind.duck == "VARCHAR" else f"nullif(trim({value}), '')", kind)
    if not required:
        return cast
    witness = f"coalesce(CAST({value} AS VARCHAR), '')"
    failed = f"CAST({failing(f'NULL into the NOT NULL column {name}', witness)} AS {kind.duck})"
    return f"CASE WHEN {cast} IS NULL THEN {failed} ELSE {cast} END"


def _variable_columns(self: Writes, node: exp.Expr, given: list[exp.Expr]) -> str:
    delimiter = self.write(given[2])
    for number, what, most in ((2, "the delimiter", COLUMN_SIZE), (3, "the escape", 1), (4, "the quote", 2)):
        sign = given[number] if len(given) > number else None
        if isinstance(sign, exp.Literal) and not (1 if number == 2 else 0) <= len(sign.name) <= most:
            sizes = {1: "one character", 2: "one character, or two: one before and one behind"}
            expected = sizes.get(most, "one character or more")
            raise SqlError(
                f"{what} of {node.name.upper()}",
                place_of(sign) or place_of(node),
                found=f"'{sign.name}'",
                expected=expected,
            )
    escape, quote = (self.write(given[i]) if len(given) > i else "''" for i in (3, 4))
    if isinstance(given[1], exp.Literal) and not given[1].is_string:
        if not given[1].name.isdigit() or not 1 <= int(given[1].name) <= COLUMNS_MAX:
            what = f"{node.name.upper()} into {given[1].name} columns"
            raise SqlError(what, place_of(given[1]) or place_of(node), expected=f"1 to {COLUMNS_MAX:,}")
        values = _columns(int(given[1].name))
    else:
        values = [
            (name, _typed(f"{{0}}[{i}]", name, kind, form, required).replace("{'", "{{'"))
            for i, (name, kind, form, required, _, _) in enumerate(_declared(given[1]), 1)
        ]
    found = f"kda_delimited({self.write(given[0])}, {len(values)}, {delimiter}, {escape}, {quote})"
    return _record(found, values)


def _fixed_columns(self: Writes, node: exp.Expr, given: list[exp.Expr]) -> str:
    value = self.write(given[0])
    listed = []
    for name, kind, form, required, start, size in _declared(given[1]):
        if start is None:
            raise SqlError(f"column {name} has no START", place_of(given[1]), expected="name TYPE type START n FOR n")
        part = f"substring({value}, {start + 1}{'' if size is None else f', {size}'})"
        listed.append(f"{text(name)}: {_typed(part, name, kind, form, required)}")
    return f"CASE WHEN {value} IS NULL THEN NULL ELSE {{{', '.join(listed)}}} END"


def _time(self: Writes, node: exp.Expr, given: list[exp.Expr]) -> str:
    return time_of(f"CAST({operands.number(self, given[0], 'TO_TIMESTAMP', node)} AS BIGINT)")


CALLS: dict[str, tuple[int, int, Writer]] = {
    "LOG10": (1, 1, _log10),
    "MONOTONIC": (1, 1, lambda self, node, given: self.write(given[0])),
    "INITCAP": (1, 1, lambda self, node, given: f"kda_initcap({self.write(given[0])})"),
    "UNIX_TIMESTAMP": (1, 1, lambda self, node, given: _instant(self, node, given[0], number=True)),
    "TO_TIMESTAMP": (1, 1, _time),
    "TSDIFF": (2, 2, _difference),
    "CHAR_TO_TIMESTAMP": (2, 2, _parsed("{0}")),
    "CHAR_TO_DATE": (2, 2, _parsed("CAST({0} AS DATE)")),
    "CHAR_TO_TIME": (2, 2, _parsed("CAST({0} AS TIME)")),
    "TIMESTAMP_TO_CHAR": (2, 2, _formatted),
    "DATE_TO_CHAR": (2, 2, _formatted),
    "TIME_TO_CHAR": (2, 2, _formatted),
    "REGEX_REPLACE": (3, 5, _regex_replace),
    "REGEX_LOG_PARSE": (2, 2, _regex_log),
    "FAST_REGEX_LOG_PARSE": (2, 2, _fast_regex_log),
    "FAST_REGEX_LOG_PARSER": (2, 2, _fast_regex_log),
    "VARIABLE_COLUMN_LOG_PARSE": (3, 5, _variable_columns),
    "FIXED_COLUMN_LOG_PARSE": (2, 2, _fixed_columns),
    "SYS_LOG_PARSE": (1, 1, _syslog),
    "W3C_LOG_PARSE": (2, 2, _w3c),
    "CURRENT_ROW_TIMESTAMP": (0, 0, lambda self, node, given: variable(NOW)),
    "LOCALTIMESTAMP": (0, 0, lambda self, node, given: variable(STARTED)),
    "LOCALTIME": (0, 0, lambda self, node, given: f"CAST({variable(STARTED)} AS TIME)"),
}
"""Name → (least and most arguments, how it is written)."""
