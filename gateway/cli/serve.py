"""``headrace serve``: the server, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import errno
import signal
from pathlib import Path
from typing import Any

import click
import uvloop

from gateway import logs
from gateway.cli.failure import Failure
from gateway.cli.settings_options import setting_options
from gateway.cli.tuning import tune
from streams.core import settings
from streams.core.errors import HeadraceError
from streams.core.settings import Settings


@click.command()
@setting_options
def serve(file: Path | None, **options: Any) -> None:
    """Serve streams, delivery streams and SQL on one port.

    Prints one line when it is ready. Ends cleanly on SIGTERM and Ctrl-C, and reads certificates and the credentials file
    again on SIGHUP. Every setting can also stand in the settings file or in the environment (HEADRACE_LOG_SYNC=interval);
    `headrace config` shows what is in force."""
    tune()
    try:
        chosen = settings.load(file, options=options)
        logs.configure(chosen)
        uvloop.run(_serve(chosen))
    except HeadraceError as error:
        raise Failure(error.message) from error


async def _serve(chosen: Settings) -> None:
    from gateway.app import App

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        app = await App.start(chosen)
    except OSError as error:
        raise _explained(error, chosen) from error
    loop.add_signal_handler(signal.SIGHUP, app.reload)
    try:
        click.echo(f"headrace is listening on {app.url}, data in {_shown(chosen.data)}")
        if chosen.tls == "auto":
            click.echo(f"clients trust it with the authority in {_shown(chosen.data)}/tls/ca.pem")
        await stop.wait()
    finally:
        await app.stop()


def _explained(error: OSError, chosen: Settings) -> Failure:
    if error.errno == errno.EADDRINUSE:
        return Failure(
            f"port {chosen.port} on {chosen.host} is in use",
            hint="stop what listens there, or choose another: headrace serve --port 0",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return Failure(f"{chosen.host} is not an address of this machine")
    if error.errno == errno.EACCES:
        return Failure(f"no permission: {error.strerror}: {error.filename or f'port {chosen.port}'}")
    return Failure(f"the server cannot start: {error}")


def _shown(data: str) -> str:
    """The data directory as a person would type it."""
    return data if Path(data).is_absolute() or data.startswith(".") else f"./{data}"
