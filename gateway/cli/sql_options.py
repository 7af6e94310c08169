"""The options that say what a program is connected with: of every command that runs or explains one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from gateway.cli import sql_program
from gateway.cli.tail import starting_point

_OPTIONS = (
    click.option(
        "--from",
        "start",
        callback=starting_point,
        default="trim_horizon",
        show_default=True,
        metavar="START",
        help="Where to begin in the streams: trim_horizon, latest, -10m (ago: s, m, h, d), a time.",
    ),
    click.option(
        "--history",
        multiple=True,
        metavar="DELIVERY_STREAM",
        help="Records that a stream no longer holds are read from the objects of the delivery stream that delivers it.",
    ),
    click.option(
        "--rowtime", metavar="COLUMN", help="The column (a TIMESTAMP) that is a row's time; without it, its arrival."
    ),
    click.option(
        "--lateness",
        "lateness_s",
        type=click.FloatRange(0),
        default=0.0,
        metavar="SECONDS",
        help="How late a row may be, by --rowtime.",
    ),
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="NAME=STREAM",
        callback=sql_program.pairs("NAME=STREAM"),
        help="The stream behind a name in FROM, or for a program a Kafka topic, kafka://HOST:PORT/TOPIC; without it, the stream of that name.",
    ),
    click.option(
        "--columns",
        multiple=True,
        metavar="STREAM='COLUMN TYPE, …'",
        callback=sql_program.columns,
        help="Columns of a stream's JSON records; without it, they are found in its first records.",
    ),
    click.option(
        "--reference",
        "references",
        multiple=True,
        metavar="NAME=FILE",
        callback=sql_program.pairs("NAME=FILE"),
        help="A reference table of a program: a CSV (with header), Parquet or NDJSON file, or its URL.",
    ),
    click.option(
        "--to",
        "outputs",
        multiple=True,
        metavar="NAME=TARGET",
        callback=sql_program.pairs("NAME=TARGET"),
        help="Where a program's stream goes: stream:NAME, firehose:NAME, kafka://HOST:PORT/TOPIC, or a .ndjson, .csv or .parquet file.",
    ),
)


def joined(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command gets the members of `sql_program.Options`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
