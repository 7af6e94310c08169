"""The command line's table of contents. A command's module is imported when it is used."""

from __future__ import annotations

import importlib
from importlib.metadata import version

import click
from click.shell_completion import CompletionItem

COMMANDS = {
    "serve": ("gateway.cli.serve:serve", "Serve streams, delivery streams and SQL on one port."),
    "stream": ("gateway.cli.stream:stream", "Make, list, describe, export, replay, mirror and delete streams."),
    "put": ("gateway.cli.put:put", "Put the lines of a file into a stream, a record a line."),
    "tail": ("gateway.cli.tail:tail", "Show the records of a stream as they arrive."),
    "sql": ("gateway.cli.sql:sql", "Run a statement, the SQL of a file, or a prompt."),
    "firehose": ("gateway.cli.firehose:firehose", "Make, verify, replay, explain and delete delivery streams."),
    "function": ("gateway.cli.function:function", "Make, list, call and delete functions."),
    "app": ("gateway.cli.app:app", "Make, start, change, watch and stop SQL applications."),
    "log": ("gateway.cli.log:log", "Copy logs."),
    "import": ("gateway.cli.importing:import_", "Make the SQL applications that CloudFormation or Terraform defines."),
    "config": ("gateway.cli.config:config", "Show the settings in force and the source of each."),
    "bench": ("gateway.cli.bench:bench", "Measure a server: records/s in and out, latencies."),
    "demo": ("gateway.cli.demo:demo", "Put a year of real flights through every room."),
    "completion": ("gateway.cli.completion:completion", "Print the completion script of a shell."),
}
"""Where each command is, and what it does: said here, so that a list of commands imports none of them."""


class Lazy(click.Group):
    """A group whose commands are imported when they are asked for, so that ``headrace tail`` starts quickly."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, told) for name, (_, told) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(name, help=told) for name, (_, told) in COMMANDS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)


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
