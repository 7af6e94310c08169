"""``headrace sql``: a query over history, or a program that runs on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, Any

import click

from gateway.cli import sql_program
from gateway.cli.connection import Target, connected
from gateway.cli.sql_program import Options
from gateway.cli.sql_rows import Format
from gateway.cli.sql_session import Session
from gateway.cli.sql_test import sql_test
from gateway.cli.tail import starting_point
from gateway.cli.worded import Worded


@click.command(cls=Worded, commands={"test": sql_test})
@click.argument("statement", required=False)
@click.option("-f", "--file", type=click.File("r"), help="Read the SQL from a file; - is stdin.")
@click.option(
    "--from",
    "start",
    callback=starting_point,
    default="trim_horizon",
    show_default=True,
    metavar="START",
    help="Where to begin in the streams: trim_horizon, latest, -10m (ago: s, m, h, d), a time.",
)
@click.option("--follow/--no-follow", default=True, help="A program waits for more, or closes all windows at the end.")
@click.option(
    "--rowtime", metavar="COLUMN", help="The column (a TIMESTAMP) that is a row's time; without it, its arrival."
)
@click.option(
    "--lateness",
    "lateness_s",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SECONDS",
    help="How late a row may be, by --rowtime.",
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=STREAM",
    callback=sql_program.pairs("NAME=STREAM"),
    help="The stream behind a name in FROM; without it, the stream of that name.",
)
@click.option(
    "--columns",
    multiple=True,
    metavar="STREAM='COLUMN TYPE, …'",
    callback=sql_program.columns,
    help="Columns of a stream's JSON records; without it, they are found in its first records.",
)
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="NAME=FILE",
    callback=sql_program.pairs("NAME=FILE"),
    help="A reference table of a program: a CSV (with header), Parquet or NDJSON file, or its URL.",
)
@click.option(
    "--to",
    "outputs",
    multiple=True,
    metavar="NAME=TARGET",
    callback=sql_program.pairs("NAME=TARGET"),
    help="Where a program's stream goes: stream:NAME, firehose:NAME, or a .ndjson, .csv or .parquet file.",
)
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
    form = "json" if target.json else form or "table"
    session = Session(target, Options(**options), form, follow, show, state, parameters, out)
    if statement is not None:
        session.execute(statement)
    elif file is not None:
        session.execute(file.read())
    elif not sys.stdin.isatty():
        session.execute(sys.stdin.read())
    else:
        # The prompt's libraries take a tenth of a second, which nobody else should wait for.
        from gateway.cli.sql_shell import Shell

        Shell(session).run()
