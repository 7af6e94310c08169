"""The log that the settings ask for."""

from __future__ import annotations

from pathlib import Path

from streams.core.clock import Clock
from streams.core.errors import ExtraMissing
from streams.core.settings import Settings
from streams.log import opening
from streams.log.log import Log


async def open_log(settings: Settings, path: Path, clock: Clock) -> Log:
    """In the folder `path`, or where the setting `log` says. Raises `SettingsError`, `ExtraMissing`, and `LogError` where
    the folder cannot be used or no broker answers."""
    if not settings.log:
        return await opening.open_log(settings, path, clock)
    try:
        from streams.kafka.address import parse
        from streams.kafka.log import KafkaLog
    except ModuleNotFoundError as error:
        raise ExtraMissing("kafka", f"the log at {settings.log}") from error
    return await KafkaLog.open(parse(settings.log), clock=clock, pending_size_max=settings.log_pending_size_max)
