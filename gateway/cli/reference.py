"""The reference of the command line, made from the commands themselves: ``python -m gateway.cli.reference`` writes
docs/cli.md."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.root import main
from gateway.cli.worded import Worded

TARGET = Path(__file__).parent.parent.parent / "docs" / "cli.md"
_WIDTH = 110


def render() -> str:
    """The page as Markdown."""
    parts = [
        "# The command line",
        "Written by `python -m gateway.cli.reference` from the commands' own help.",
        "Data goes to stdout, talk to stderr. Exit codes: 0 well, 1 failed, 2 wrong usage, 130 interrupted. "
        "A stream that is watched (`tail`, a continuous `sql`) ends well with Ctrl-C.",
    ]
    for path, command in commands():
        context = click.Context(
            command,
            info_name=" ".join(path),
            help_option_names=["-h", "--help"],
            max_content_width=_WIDTH,
            terminal_width=_WIDTH,
        )
        parts.append(f"{'#' * (len(path) + 1)} {' '.join(path)}")
        parts.append(f"```text\n{command.get_help(context)}\n```")
    return "\n\n".join(parts) + "\n"


def commands() -> list[tuple[tuple[str, ...], click.Command]]:
    """Every command with its path, ``("headrace", "stream", "list")``, in the order of the help."""
    found: list[tuple[tuple[str, ...], click.Command]] = []

    def visit(path: tuple[str, ...], command: click.Command) -> None:
        found.append((path, command))
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None
                visit((*path, name), inner)
        elif isinstance(command, Worded):
            for name, inner in command.commands.items():
                visit((*path, name), inner)

    visit(("headrace",), main)
    return found


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(render())
    click.echo(f"wrote {TARGET.relative_to(Path.cwd())}")
