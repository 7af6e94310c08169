"""What may come next at the SQL prompt: commands, keywords, functions, streams, and the columns of those named so far."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import click
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from gateway.cli.running import run
from gateway.cli.sql_commands import MODES, Commands

KEEP_S = 10.0
"""How long streams and columns are taken to be as they were."""

KEYWORDS = [
    "ALL",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CREATE",
    "CROSS",
    "DESC",
    "DISTINCT",
    "ELSE",
    "END",
    "EXISTS",
    "EXTRACT",
    "FALSE",
    "FILTER",
    "FLOOR",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "IN",
    "INNER",
    "INSERT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PUMP",
    "QUALIFY",
    "RANGE",
    "REPLACE",
    "RIGHT",
    "ROWS",
    "ROWTIME",
    "SELECT",
    "STEP",
    "STREAM",
    "THEN",
    "TO",
    "TRUE",
    "UNION",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
]

_WORD = re.compile(r'"?[\w.-]*$')
_NAMED = re.compile(r"[\w.-]+")

T = TypeVar("T")


class SqlCompleter(Completer):
    """Asks the server for names, at most every `KEEP_S`; run it in a thread. A server that is away completes nothing."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._paths = PathCompleter(expanduser=True)
        self._kept: dict[str, tuple[float, list[str]]] = {}

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        if text.startswith("."):
            yield from self._command(text, document, complete_event)
            return
        found = _WORD.search(text)
        word = "" if found is None else found.group()
        plain = word.removeprefix('"').lower()
        if not plain and not complete_event.completion_requested:
            return
        streams = self._streams()
        named = set(_NAMED.findall(document.text))
        groups = [
            ("column", [name for stream in streams if stream in named for name in self._columns(stream)]),
            ("stream", streams),
            ("", [] if word.startswith('"') else KEYWORDS),
            ("function", [] if word.startswith('"') else self._functions()),
        ]
        seen = set()
        for kind, names in groups:
            for name in names:
                if name.lower().startswith(plain) and name not in seen:
                    seen.add(name)
                    shown = name if kind in ("", "function") or _plain(name) else f'"{name}"'
                    yield Completion(shown, -len(word), display=name, display_meta=kind)

    def _command(self, text: str, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        name, blank, rest = text.partition(" ")
        if not blank:
            yield from (Completion(one, -len(name)) for one in self._commands.names if one.startswith(name))
        elif name == ".schema":
            yield from (Completion(one, -len(rest)) for one in self._streams() if one.startswith(rest))
        elif name == ".mode":
            yield from (Completion(one, -len(rest)) for one in MODES if one.startswith(rest))
        elif name in (".read", ".output"):
            yield from self._paths.get_completions(Document(rest, len(rest)), event)

    def _streams(self) -> list[str]:
        target = self._commands.session.target

        async def work() -> list[str]:
            async with target.client() as client:
                return await client.list_streams()

        return self._lately("streams", lambda: run(target, work()) or [])

    def _columns(self, stream: str) -> list[str]:
        return self._lately(f"columns {stream}", lambda: [one.name for one in self._commands.columns(stream)])

    def _functions(self) -> list[str]:
        kept = self._kept.get("functions")
        if kept is None:
            import duckdb

            rows = (
                duckdb.connect().execute("SELECT DISTINCT function_name FROM duckdb_functions() ORDER BY 1").fetchall()
            )
            kept = self._kept["functions"] = 0.0, [name for (name,) in rows if _plain(name)]
        return kept[1]

    def _lately(self, what: str, ask: Callable[[], list[str]]) -> list[str]:
        kept = self._kept.get(what)
        now = time.monotonic()
        if kept is None or now - kept[0] > KEEP_S:
            try:
                names = ask()
            except click.ClickException:
                names = []
            kept = self._kept[what] = now, names
        return kept[1]


def _plain(name: str) -> bool:
    """Whether it needs no quotes in DuckDB's SQL."""
    return re.fullmatch(r"[A-Za-z_]\w*", name) is not None
