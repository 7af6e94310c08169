"""What commands write: data to stdout, as a table or as JSON, and talk to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
import msgspec
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

_PIPE_WIDTH = 10_000
"""Columns of a table that is not shown on a terminal: nothing is cut or wrapped."""


def stdout() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)


def talk(sentence: str) -> None:
    """Tells the person something that is not data."""
    click.echo(sentence, err=True)


def json_line(value: Any) -> None:
    """One JSON value on one line; timestamps as ISO 8601, bytes as base64."""
    click.echo(msgspec.json.encode(value).decode())


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """A table for people. Numbers stand to the right, None is empty."""
    cells = [["" if value is None else value for value in row] for row in rows]
    shown = Table(*[], title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for number, column in enumerate(columns):
        numeric = bool(cells) and all(isinstance(row[number], int | float) for row in cells)
        shown.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        shown.add_row(*(_text(value) for value in row))
    stdout().print(shown, highlight=False, markup=False)


def progress() -> Progress:
    """A progress bar on stderr; nothing where stderr is not a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return str(value)
