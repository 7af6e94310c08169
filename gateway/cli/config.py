"""``headrace config``: the settings in force, and where each comes from."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.cli import output
from gateway.cli.failure import Failure
from gateway.cli.settings_options import setting_options
from streams.core import settings
from streams.core.errors import SettingsError
from streams.core.settings import Settings


@click.command()
@setting_options
@click.option("--json", "as_json", is_flag=True, help="Write JSON for programs, not a table for people.")
def config(file: Path | None, as_json: bool, **options: Any) -> None:
    """Show the settings in force and the source of each.

    They are what `headrace serve` would run with, given the same options."""
    try:
        chosen = settings.load(file, options=options)
    except SettingsError as error:
        raise Failure(error.message) from error
    values = msgspec.to_builtins(chosen) | _hidden(chosen)
    sources = {name: _source(name, file, options) for name in values}
    if as_json:
        output.json_line({name: {"value": value, "source": sources[name]} for name, value in values.items()})
        return
    output.table(
        ["setting", "value", "source"], [(name, _shown(value), sources[name]) for name, value in values.items()]
    )


def _hidden(chosen: Settings) -> dict[str, Any]:
    """The settings that are secret, as they are shown: that they are set, and where a key is a file, which."""

    def key(text: str) -> str:
        return text if text.startswith("file:") or not text else "…"

    return {
        "credentials": dict.fromkeys(chosen.credentials, "…"),
        "encryption_key": key(chosen.encryption_key),
        "encryption_keys_old": [key(one) for one in chosen.encryption_keys_old],
    }


def _source(name: str, file: Path | None, options: dict[str, Any]) -> str:
    """The most specific place that names the setting."""
    if options.get(name) is not None:
        return "option"
    if settings.ENVIRONMENT_PREFIX + name.upper() in os.environ:
        return f"environment ({settings.ENVIRONMENT_PREFIX + name.upper()})"
    if file is not None and name in tomllib.loads(file.read_text()):
        return f"file ({file})"
    return "default"


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode() if isinstance(value, dict) else str(value)
