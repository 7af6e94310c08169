"""``headrace sql``: a query over history, or a program that runs on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, Any

import click

from gateway.cli import sql_program
from gateway.cli.connection import Target, connected
from gateway.cli.failure import Failure
from gateway.cli.sql_explain import explain
from gateway.cli.sql_options import joined
from gateway.cli.sql_program import Options
from gateway.cli.sql_rows import Format
from gateway.cli.sql_session import Session
from gateway.cli.sql_test import sql_test
from gateway.cli.worded import Worded
from streams.core.memory import keep_memory


@click.command(cls=Worded, commands={"explain": explain, "test": sql_test})
@click.argument("statement", required=False)
@click.option("-f", "--file", type=click.File("r"), help="Read the SQL from a file; - is stdin.")
@joined
@click.option("--follow/--no-follow", default=True, help="A program waits for more, or closes all windows at the end.")
@click.option("--show", multiple=True, metavar="NAME", help="A program's stream to print; by default its last ones.")
@click.option(
    "--state", type=click.Path(dir_okay=False), help="File that keeps a program's state: it goes on from there."
)
@click.option(
    "--param",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    callback=sql_program.parameters,
    help="The value of $NAME in a batch query: a number, true, false or null, else a text.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A batch query's result as a .parquet, .csv or .ndjson file.",
)
@click.option("--output", "form", type=click.Choice(["table", "json", "csv"]), help="How rows are written.  [table]")
@connected
def sql(
    target: Target,
    statement: str | None,
    file: IO[str] | None,
    follow: bool,
    show: tuple[str, ...],
    state: str | None,
    parameters: dict[str, object],
    out: Path | None,
    form: Format | None,
    **options: Any,
) -> None:
    """Run STATEMENT, the SQL of a file, or a prompt.

    A query over what the streams hold now ends with its result; every stream is a table, and the SQL is DuckDB's. A
    SELECT STREAM, or a program of CREATE STREAM and CREATE PUMP, runs on and prints rows as windows close, until Ctrl-C.

    \b
    headrace sql 'SELECT carrier, count(*) FROM flights GROUP BY 1'
    headrace sql "SELECT STREAM STEP(f.ROWTIME BY INTERVAL '1' MINUTE) AS minute, COUNT(*) AS flights
                  FROM flights f GROUP BY STEP(f.ROWTIME BY INTERVAL '1' MINUTE)"
    """
    if statement is not None and file is not None:
        raise click.UsageError("give a STATEMENT or a --file, not both")
    if target.json and form not in (None, "json"):
        raise click.UsageError(f"--json and --output {form} exclude each other")
    keep_memory()
    form = "json" if target.json else form or "table"
    session = Session(target, Options(**options), form, follow, show, state, parameters, out)
    if statement is not None:
        session.execute(statement)
    elif file is not None:
        session.execute(_read(file))
    elif not sys.stdin.isatty():
        session.execute(_read(sys.stdin))
    else:
        # The prompt's libraries take a tenth of a second, which nobody else should wait for.
        from gateway.cli.sql_shell import Shell

        Shell(session).run()


def _read(file: IO[str]) -> str:
    try:
        return file.read()
    except UnicodeDecodeError as error:
        raise Failure(f"{file.name} is no text: byte {error.start + 1} is not UTF-8") from error
