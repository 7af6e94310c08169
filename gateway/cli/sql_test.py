"""``headrace sql test``: a program over rows from a file, beside the rows that it should give. No server is needed."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import uvloop

from analytics import Application, Input, Output, Reference, SqlError, parse
from analytics.errors import closest
from analytics.processing import Processor
from analytics.program import ERROR_STREAM, Program, folded
from analytics.schemas import columns_of
from analytics.trial import Difference, Line, compare, inputs_of, parse_lines, records_of
from connectors.formats.json import encode_json
from connectors.formats.schema import Column
from gateway.cli import output, sql_program
from gateway.cli.failure import Failure
from gateway.cli.sql_session import pointing_into
from gateway.cli.texts import text_of
from streams.core.clock import ManualClock
from streams.core.errors import HeadraceError
from streams.core.pandas import without_pandas
from streams.core.records import Records
from streams.log.memory import MemoryLog
from streams.sdk.local import LocalClient
from streams.service import Service

SCHEMA = "schema.json"
DIFFERENT = 1
"""The exit code where rows differ."""
FUTURE_MS = 1 << 52
"""No row of a file is too far ahead of the clock."""
SHOWN_MAX = 50
"""Differing rows of a stream that are printed; more are counted."""

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("test")
@click.argument("program", type=_FILE)
@click.argument("rows", metavar="INPUT", type=_FILE)
@click.argument("expected", type=_FILE)
@click.option(
    "--lateness",
    "lateness_s",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SECONDS",
    help="How far a row may lie behind those before it in its stream.",
)
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="NAME=FILE",
    callback=sql_program.pairs("NAME=FILE"),
    help="A reference table: a CSV (with header), Parquet or NDJSON file.",
)
@click.option(
    "--function",
    "functions",
    multiple=True,
    metavar="STREAM=FUNCTION",
    callback=sql_program.pairs("STREAM=FUNCTION"),
    help="The function that an input's records go through before: FILE.py:NAME, or what the setting functions takes.",
)
def sql_test(
    program: Path,
    rows: Path,
    expected: Path,
    lateness_s: float,
    references: dict[str, str],
    functions: dict[str, str],
) -> None:
    """Run PROGRAM over the rows of INPUT and compare what it gives with EXPECTED.

    Both files hold a JSON object a line: {"stream": "IN", "rowtime": "2026-01-01T00:00:00.000Z", "row": {...}}. Columns
    are found in the rows, unless a schema.json beside INPUT declares them, as it must for what a --function makes. All windows close at the end. Only streams
    that EXPECTED names are compared, without order. Exit code 1 where they differ.
    """
    without_pandas()
    text = text_of(program)
    try:
        given, wanted = parse_lines(text_of(rows), str(rows)), parse_lines(text_of(expected), str(expected))
        declared = columns_of(rows.parent / SCHEMA, [line.stream for line in given])
        with pointing_into(text):
            found = uvloop.run(_run(text, given, declared, references, functions, round(lateness_s * 1000), wanted))
    except HeadraceError as error:
        raise Failure(error.message) from error
    differences = compare(wanted, found)
    for difference in differences:
        _show(difference)
    if differences:
        _tell_faults(found, wanted)
        raise click.exceptions.Exit(DIFFERENT)
    output.talk(f"{len(wanted):,} row{'' if len(wanted) == 1 else 's'} as expected")


def _processors(functions: Mapping[str, str]) -> contextlib.AbstractAsyncContextManager[Mapping[str, Processor]]:
    if not functions:
        return contextlib.nullcontext({})
    from gateway.cli.sql_test_function import processors  # with what calls functions far away: a quarter of a second

    return processors(functions)


async def _run(
    text: str,
    given: list[Line],
    declared: Mapping[str, list[Column]],
    references: Mapping[str, str],
    functions: Mapping[str, str],
    lateness_ms: int,
    wanted: list[Line],
) -> list[Line]:
    program = parse(text)
    inputs = inputs_of(program, given, declared, references)
    for stream in functions:
        if stream not in inputs.values():
            raise Failure(f"--function {stream}: the program reads no stream of this name")
        if stream not in declared:
            raise Failure(
                f"--function {stream}: what the function makes is not known: declare its columns in schema.json"
            )
    found: list[Line] = []

    def collect(stream: str, rows: pa.RecordBatch) -> None:
        for encoded in encode_json(rows).to_pylist():
            row: dict[str, Any] = json.loads(encoded)
            found.append(Line(stream, row.pop("ROWTIME").replace(" ", "T") + "Z", row))

    async with _client() as client, _processors(functions) as processing:
        for stream in inputs.values():
            await client.create_stream(stream)
            records = records_of([line for line in given if line.stream == stream])
            if records:
                await client.put(stream, Records.of(["row"] * len(records), records))
        application = Application(
            text,
            client=client,
            inputs=[
                Input(
                    stream,
                    name=name,
                    columns=declared.get(stream),
                    rowtime="ROWTIME",
                    lateness_ms=lateness_ms,
                    future_ms=FUTURE_MS,
                    processor=processing.get(stream),
                )
                for name, stream in inputs.items()
            ],
            references=[Reference(_named(program, name), file) for name, file in references.items()],
            outputs=[Output(None, callback=collect)],
            clock=ManualClock(_last_ms(given)),
        )
        async with application:
            for line in wanted:
                if line.stream not in application.streams:
                    what = f"there is no in-application stream {line.stream} to expect rows of"
                    raise SqlError(what, suggestion=closest(line.stream, application.streams))
            await application.run(until_end=True)
            for name, rows in (await application.read(dict.fromkeys(application.tables))).items():
                for batch in rows.to_batches():
                    collect(name, batch)
    return found


@contextlib.asynccontextmanager
async def _client() -> AsyncIterator[LocalClient]:
    """A log in memory."""
    log = MemoryLog()
    service = Service(log)
    await service.open()
    try:
        yield LocalClient(service)
    finally:
        await service.close()
        await log.close()


def _last_ms(given: list[Line]) -> int:
    """The clock of the run, the same every time: when the last row comes."""
    times = [dt.datetime.fromisoformat(line.rowtime.replace("Z", "")) for line in given if line.rowtime]
    return int(max(times, default=dt.datetime(1970, 1, 1)).replace(tzinfo=dt.UTC).timestamp() * 1000)


def _named(program: Program, name: str) -> str:
    return next((each for each in map(folded, program.sources()) if each.upper() == name.upper()), name)


def _show(difference: Difference) -> None:
    missing, surplus = difference.missing, difference.surplus
    click.secho(f"{difference.stream}: {len(missing):,} missing, {len(surplus):,} not expected", bold=True)
    shown = [(line, "-", "red") for line in missing[:SHOWN_MAX]] + [
        (line, "+", "green") for line in surplus[:SHOWN_MAX]
    ]
    for line, sign, color in sorted(shown, key=lambda each: (each[0].rowtime or "", each[1] != "-")):
        click.secho(f"{sign} {line.rowtime or ''} {json.dumps(line.row, ensure_ascii=False)}", fg=color)
    left = len(missing) + len(surplus) - len(shown)
    if left:
        click.echo(f"  {left:,} more")


def _tell_faults(found: list[Line], wanted: list[Line]) -> None:
    faults = [line.row for line in found if line.stream == ERROR_STREAM]
    if faults and all(line.stream != ERROR_STREAM for line in wanted):
        first = faults[0]
        output.talk(f"{len(faults):,} in error_stream, the first: {first['ERROR_NAME']}: {first['MESSAGE']}")
