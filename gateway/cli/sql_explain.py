"""``headrace sql explain``: what a program does, what it keeps, and why a window is still open."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import click
import msgspec

from analytics import Application
from analytics.explaining import Explained, PumpExplained
from gateway.cli import output, sql_program
from gateway.cli.connection import Target, connected
from gateway.cli.failure import Failure
from gateway.cli.running import run
from gateway.cli.sql_history import archives
from gateway.cli.sql_options import joined
from gateway.cli.sql_program import Options
from gateway.cli.sql_session import pointing_into
from gateway.cli.texts import text_of


@click.command("explain")
@click.argument("program", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@joined
@click.option(
    "--state",
    type=click.Path(exists=True, dir_okay=False),
    help="The file that keeps the program's state, which must not be running.",
)
@connected
def explain(target: Target, program: Path, state: str | None, **options: Any) -> None:
    """Say what PROGRAM does with its streams, what it keeps, and how much of it is in --state.

    Its pumps come in the order of the data, each with the SQL that runs over every micro-batch. With --state it also says
    how far time has come, and for which input the first open window waits. Nothing runs, and nothing is changed."""
    text = text_of(program)
    with pointing_into(text):
        parsed = sql_program.continuous(text)
    if parsed is None:
        raise Failure(
            "this is a batch query: it keeps nothing", hint="headrace sql EXPLAIN …; is DuckDB's own plan of it"
        )
    given = Options(**options)

    async def work() -> Explained:
        async with target.http() as client, archives(client, given.history) as history:
            application = Application(
                text,
                client=client,
                inputs=sql_program.inputs(parsed, given, await client.list_streams(), history),
                references=sql_program.references(parsed, given),
                path=state,
            )
            async with application:
                return application.explain()

    with pointing_into(text):
        found = run(target, work())
    assert found is not None, "it is not endless"
    if target.json:
        output.json_line(msgspec.to_builtins(found) | {"waiting_for": found.waiting_for})
        return
    for pump in found.pumps:
        _tell(pump)
    if state is not None:
        _tell_time(found)


def _tell(pump: PumpExplained) -> None:
    click.secho(f"{pump.name}: {' and '.join(pump.sources)} → {pump.target}", bold=True)
    click.echo(f"  {pump.does}")
    if pump.sql is not None:
        click.echo(f"  {pump.sql}")
    for kept in pump.kept:
        columns = ", ".join(f"{name} {kind}" for name, kind in kept.columns)
        click.echo(f"  keeps {kept.what}: {kept.table} ({columns})")
        click.echo(f"    {kept.rows:,} rows, {kept.bytes:,} bytes")
    if not pump.kept:
        click.echo("  keeps nothing")


def _tell_time(found: Explained) -> None:
    for name, at in sorted(found.at_ms.items()):
        click.echo(f"{name}: {'no record yet' if at is None else f'its time has come to {_time(at)}'}")
    if found.open_until_ms is None:
        click.echo("no window is open")
    elif found.waiting_for:
        click.echo(
            f"the first open window ends at {_time(found.open_until_ms)}: it closes when the time of "
            f"{' and '.join(found.waiting_for)} has come there"
        )
    else:
        click.echo(f"the first open window ended at {_time(found.open_until_ms)}: it closes when the program runs")


def _time(at_ms: int) -> str:
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
