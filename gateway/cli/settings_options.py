"""The options that say which settings are in force: of the server, and of commands that open what it left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def settings_file(help: str = "Settings file (TOML).") -> Callable[[F], F]:
    """The command gets `file`, a path or None."""
    return click.option(
        "--config",
        "file",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="HEADRACE_CONFIG",
        show_envvar=True,
        help=help,
    )


def data_directory(help: str = "Data directory.") -> Callable[[F], F]:
    """The command gets `data`, a text or None."""
    return click.option("--data", type=click.Path(file_okay=False), help=f"{help}  [./headrace-data]")


def setting_options(command: F) -> F:
    """The options that name settings; what is not given falls to the environment, the file and the default."""
    options: list[Callable[[F], F]] = [
        click.option("--host", help="Address to listen on; other than loopback needs credentials.  [127.0.0.1]"),
        click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.  [4567]"),
        data_directory(),
        click.option(
            "--log-sync",
            type=click.Choice(["always", "interval", "os"]),
            help="When appends reach the disk: before each reply, every few ms, or when the OS likes.  [always]",
        ),
        click.option(
            "--tls",
            type=click.Choice(["off", "files", "auto"]),
            help="TLS: with tls_certificate and tls_key, or with a certificate made in the data directory.  [off]",
        ),
        settings_file(),
    ]
    for option in reversed(options):
        command = option(command)
    return command
