"""How commands fail: one sentence on stderr, a hint under it where there is one, exit code 1."""

from __future__ import annotations

from typing import IO, Any

import click


class Failure(click.ClickException):
    """The command cannot do what was asked. `hint` is what the person may do about it."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def show(self, file: IO[Any] | None = None) -> None:
        click.secho(f"headrace: {self.format_message()}", err=True, fg="red")
        if self.hint is not None:
            click.echo(self.hint, err=True)
