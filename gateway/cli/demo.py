"""``headrace demo``: the platform's main job on real flights."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from gateway.cli.failure import Failure
from streams.core.errors import ExtraMissing, HeadraceError


@click.command()
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Leave the data there: the log, the Parquet files and the CSV; without it they are deleted in the end.",
)
@click.option("--flights", type=click.IntRange(1), help="Take only the first N flights of the year.")
def demo(keep: Path | None, flights: int | None) -> None:
    """Put a year of real flights through every room and check every count.

    They are the 336,776 that left New York in 2013. A server on a free port takes the flights through the Kinesis protocol; a delivery stream turns them into Parquet
    files, through a function that drops the cancelled ones; a SQL application computes hourly delays per carrier; in
    the end everything is reconciled with what DuckDB says of the CSV files. Exit code 1 if anything differs."""
    try:
        from gateway.demo.run import run
    except ImportError as error:
        raise Failure(ExtraMissing("demo", "the demo").message) from error
    try:
        agreed = run(keep, flights, Console())
    except HeadraceError as error:
        raise Failure(error.message) from error
    if not agreed:
        raise Failure("the counts differ: see the table of differences")
