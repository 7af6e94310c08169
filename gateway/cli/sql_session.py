"""Running SQL: a batch query to its result, a program until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import pyarrow as pa

from analytics import Application, Output, Program, SqlError, query
from analytics.live import StateFile
from analytics.program import ERROR_STREAM
from gateway.cli import output, sql_program
from gateway.cli.connection import Target
from gateway.cli.failure import Failure
from gateway.cli.running import run
from gateway.cli.sql_history import archives
from gateway.cli.sql_live import ServedApplications
from gateway.cli.sql_rows import Format, RowWriter, check_file, write_file, write_table
from gateway.cli.sql_status import Status


@dataclass(frozen=True, slots=True)
class Session:
    """What all statements of one ``headrace sql`` share. `show` and `state` are for programs only, `parameters` (the values
    of ``$name``) and `file` (where the result goes) for batch queries."""

    target: Target
    options: sql_program.Options
    form: Format
    follow: bool
    show: Sequence[str]
    state: str | None
    parameters: Mapping[str, object] = field(default_factory=dict)
    file: Path | None = None

    def execute(self, text: str) -> None:
        """Runs one batch query, or one program. Raises `Failure`."""
        if not text.strip():
            raise click.UsageError("there is no SQL to run")
        if text.lstrip().startswith("."):
            raise Failure(
                f"{text.split(maxsplit=1)[0]} is a command of the prompt, which `headrace sql` alone opens on a terminal",
                hint="here --output, --out, --param and -f say what the commands do",
            )
        with pointing_into(text):
            program = sql_program.continuous(text)
        if program is None:
            self._query(text)
        else:
            run(self.target, self._run(text, program), endless=self.follow)

    def _query(self, text: str) -> None:
        given = self.options
        for name, value in (("--input", given.inputs), ("--to", given.outputs)):
            if value:
                raise click.UsageError(f"{name} is for programs, and this is a batch query")
        if given.references:
            raise click.UsageError(
                "--reference is for programs; a batch query reads files itself: FROM read_csv('airlines.csv')"
            )

        if self.file is not None:
            check_file(self.file)

        async def work() -> pa.Table:
            with pointing_into(text):
                async with self.target.http() as client, archives(client, given.history) as history:
                    rowtime = {} if given.rowtime is None else dict.fromkeys(await client.list_streams(), given.rowtime)
                    return await query(
                        text,
                        client,
                        columns=given.columns,
                        rowtime=rowtime,
                        start=given.start,
                        faulty=faulty,
                        parameters=self.parameters,
                        applications=ServedApplications(client) if self.state is None else StateFile(self.state),
                        history=history,
                    )

        left_out: dict[str, tuple[int, str]] = {}

        def faulty(stream: str, count: int, why: str) -> None:
            before, first = left_out.get(stream, (0, why))
            left_out[stream] = before + count, first

        rows = run(self.target, work())
        for stream, (count, why) in left_out.items():
            several = "1 record" if count == 1 else f"{count:,} records"
            output.talk(f"{several} of {stream} did not fit and {'is' if count == 1 else 'are'} left out: {why}")
        assert rows is not None, "a batch query is not endless"
        if self.file is None:
            write_table(self.form, rows)
        else:
            write_file(self.file, rows)
            output.talk(f"{len(rows):,} row{'' if len(rows) == 1 else 's'} in {self.file}")

    async def _run(self, text: str, program: Program) -> None:
        if self.file is not None:
            raise click.UsageError(
                "--out and .output are for batch queries; a program's streams go to files by --to NAME=FILE"
            )
        shown = sql_program.shown(program, self.show)
        tables = [name for name in shown if name in program.streams and program.streams[name].retain is not None]
        streams = [name for name in shown if name not in tables]
        writer = RowWriter(self.form, shown)
        status = Status()

        def write(stream: str, rows: pa.RecordBatch) -> None:
            with status.away():
                writer.write(stream, rows)

        async with self.target.http() as client, archives(client, self.options.history) as history:
            with pointing_into(text):
                application = Application(
                    text,
                    client=client,
                    inputs=sql_program.inputs(program, self.options, await client.list_streams(), history),
                    references=sql_program.references(program, self.options),
                    outputs=[
                        *sql_program.outputs(self.options),
                        *(Output(source=name, callback=write) for name in dict.fromkeys([*streams, ERROR_STREAM])),
                    ],
                    path=self.state,
                    progress=status.tell,
                )
                await application.open()
            async with application, status:
                if self.follow:
                    for number in (signal.SIGINT, signal.SIGTERM):
                        asyncio.get_running_loop().add_signal_handler(number, application.stop)
                await application.run(until_end=not self.follow)
                for name in tables:
                    for batch in (await application.read({name: None}))[name].to_batches():
                        write(name, batch)


@contextlib.contextmanager
def pointing_into(text: str) -> Iterator[None]:
    """A `SqlError` becomes a `Failure` that shows the place in the text."""
    try:
        yield
    except SqlError as error:
        raise Failure(error.message, hint=_pointed(text, error)) from error


def _pointed(text: str, error: SqlError) -> str | None:
    """The line of the program, and a caret under the place."""
    if error.place is None:
        return None
    lines = text.splitlines()
    if not 1 <= error.place.line <= len(lines):
        return None
    return f"  {lines[error.place.line - 1]}\n  {' ' * (error.place.column - 1)}^"
