"""The command line's table of contents. A command's module is imported when it is used."""

from __future__ import annotations

import importlib
from importlib.metadata import version

import click

COMMANDS = {
    "serve": "gateway.cli.serve:serve",
    "stream": "gateway.cli.stream:stream",
    "put": "gateway.cli.put:put",
    "tail": "gateway.cli.tail:tail",
    "sql": "gateway.cli.sql:sql",
    "firehose": "gateway.cli.firehose:firehose",
    "function": "gateway.cli.function:function",
    "app": "gateway.cli.app:app",
    "log": "gateway.cli.log:log",
    "import": "gateway.cli.importing:import_",
    "config": "gateway.cli.config:config",
    "bench": "gateway.cli.bench:bench",
    "demo": "gateway.cli.demo:demo",
    "completion": "gateway.cli.completion:completion",
}


class Lazy(click.Group):
    """A group whose commands are imported when they are asked for, so that ``headrace tail`` starts quickly."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("headrace"), prog_name="headrace")
def main() -> None:
    """Stream processing that speaks the Kinesis family's protocols.

    \b
    headrace serve                          start a server on this machine
    headrace stream create clicks           make a stream
    headrace put clicks events.ndjson       put a file into it, a record a line
    headrace tail clicks                    watch it
    headrace sql 'SELECT count(*) FROM clicks'

    Every command but `serve` talks to the server at --endpoint (HEADRACE_ENDPOINT), by default
    http://127.0.0.1:4567.
    """
