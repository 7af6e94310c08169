"""Rows of a query on stdout: as they come, in columns, as JSON lines, or as CSV; or in a file."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from analytics.program import ERROR_STREAM
from connectors.formats.json import encode_json
from gateway.cli import output
from gateway.cli.failure import Failure

Format = Literal["table", "json", "csv"]


class RowWriter:
    """Writes the rows of the streams in `shown`; faulty rows are told on stderr. With several streams, a row as JSON
    begins with ``"stream"``, and CSV and columns begin anew, with their header, where the stream changes."""

    def __init__(self, form: Format, shown: Sequence[str]) -> None:
        self._form = form
        self._shown = set(shown)
        self._current: str | None = None
        self._widths: list[int] = []

    def write(self, stream: str, rows: pa.RecordBatch) -> None:
        """A callback of an application."""
        if stream in self._shown:
            getattr(self, f"_{self._form}")(stream, rows)
            self._current = stream
        elif stream == ERROR_STREAM:
            first = rows.slice(0, 1).to_pylist()[0]
            what = f"{first['ERROR_NAME']}: {first['MESSAGE']}"
            count = "1 row" if len(rows) == 1 else f"{len(rows):,} rows"
            first_of = "" if len(rows) == 1 else ", the first"
            output.talk(f"{count} went to {stream}{first_of}: {what}")

    def _json(self, stream: str, rows: pa.RecordBatch) -> None:
        lines = (line.decode() for line in encode_json(rows).to_pylist())
        if len(self._shown) > 1:
            lines = (f'{{"stream":"{stream}",{line[1:]}' for line in lines)
        for line in lines:
            click.echo(line)

    def _csv(self, stream: str, rows: pa.RecordBatch) -> None:
        sink = pa.BufferOutputStream()
        options = pyarrow.csv.WriteOptions(include_header=stream != self._current)
        pyarrow.csv.write_csv(rows, sink, options)
        click.echo(sink.getvalue().to_pybytes(), nl=False)

    def _table(self, stream: str, rows: pa.RecordBatch) -> None:
        cells = [[cell(value) for value in column] for column in rows.to_pydict().values()]
        if stream != self._current:
            names = rows.schema.names
            self._widths = [max(len(name), *map(len, column)) for name, column in zip(names, cells, strict=True)]
            if len(self._shown) > 1:
                click.secho(f"-- {stream}", bold=True)
            click.secho(self._line(names), bold=True)
        for row in zip(*cells, strict=True):
            click.echo(self._line(row))

    def _line(self, row: Sequence[str]) -> str:
        return "  ".join(value.ljust(width) for value, width in zip(row, self._widths, strict=True)).rstrip()


def write_table(form: Format, rows: pa.Table) -> None:
    """The result of a batch query."""
    if form == "table":
        columns = rows.to_pydict().values()
        numeric = [pa.types.is_integer(field.type) for field in rows.schema]
        shown = [
            [value if whole else cell(value) for value in column]
            for column, whole in zip(columns, numeric, strict=True)
        ]
        output.table(rows.column_names, zip(*shown, strict=True))
        return
    writer = RowWriter(form, [""])
    for batch in rows.to_batches() or [pa.RecordBatch.from_pylist([], schema=rows.schema)]:
        writer.write("", batch)


SUFFIXES = (".parquet", ".csv", ".ndjson", ".jsonl", ".json")
"""Of the files that a result may become."""


def check_file(path: Path) -> None:
    """Raises `Failure` where a result could not become this file, before there is one."""
    if path.suffix not in SUFFIXES:
        raise Failure(f"{path} says no format", hint="name it .parquet, .csv or .ndjson")
    if path.is_dir():
        raise Failure(f"{path} is a folder")
    if not path.parent.is_dir():
        raise Failure(f"{path} cannot be written: there is no folder {path.parent}")


def write_file(path: Path, rows: pa.Table) -> None:
    """The result of a batch query, in the format that the file's ending says (see `check_file`). It appears when it is whole.
    Raises `Failure`."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        match path.suffix:
            case ".parquet":
                pyarrow.parquet.write_table(rows, draft, compression="zstd")
            case ".csv":
                pyarrow.csv.write_csv(rows, draft)
            case ".ndjson" | ".jsonl" | ".json":
                with draft.open("wb") as out:
                    for batch in rows.to_batches():
                        out.writelines(line + b"\n" for line in encode_json(batch).to_pylist())
            case _:
                raise AssertionError("check_file knows the endings")
        draft.replace(path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise Failure(f"{path} cannot be written: {reason}") from error
    finally:
        draft.unlink(missing_ok=True)


def cell(value: object) -> str:
    """A value as people read it."""
    match value:
        case None:
            return ""
        case float():
            return f"{value:.6g}"
        case dt.datetime():
            return value.isoformat(" ", "milliseconds" if value.microsecond else "seconds")
        case bytes():
            return value.decode(errors="backslashreplace")
        case _:
            return str(value)
