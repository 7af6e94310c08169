"""A command that takes a free text first, or one of some words that are commands of their own."""

from __future__ import annotations

from typing import Any

import click


class Worded(click.Command):
    """``headrace sql 'SELECT …'`` and ``headrace sql test …``: `commands` are those of its words."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        self.commands: dict[str, click.Command] = attributes.pop("commands")
        super().__init__(*args, **attributes)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args and args[0] in self.commands:
            return self.commands[args[0]].make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str()) for name, command in self.commands.items()])
