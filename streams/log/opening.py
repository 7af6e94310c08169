"""The log that the settings ask for."""

from __future__ import annotations

from pathlib import Path

from streams.core.clock import Clock
from streams.core.errors import SettingsError
from streams.core.settings import Settings
from streams.log.embedded import EmbeddedLog
from streams.log.objects import Objects, open_objects
from streams.log.sealing import keyring
from streams.log.tiering import TierOptions


async def open_log(settings: Settings, path: Path, clock: Clock) -> EmbeddedLog:
    """In the folder `path`. Raises `SettingsError`, `ExtraMissing`, and `LogError` where the folder cannot be used."""
    return await EmbeddedLog.open(
        path,
        clock=clock,
        sync=settings.log_sync,
        sync_interval_ms=settings.log_sync_interval_ms,
        segment_size_max=settings.log_segment_size_max,
        pending_size_max=settings.log_pending_size_max,
        compress=settings.log_compress,
        keyring=keyring(settings.encryption_key, settings.encryption_keys_old),
        tier=_tier(settings),
    )


def tier_objects(settings: Settings) -> Objects | None:
    """Where cold segments are; None if nowhere. Raises `SettingsError`, `ExtraMissing`."""
    if not settings.log_tier_url:
        return None
    try:
        return open_objects(settings.log_tier_url)
    except ValueError as error:
        raise SettingsError(f"log_tier_url is {settings.log_tier_url!r}: {error}") from error


def _tier(settings: Settings) -> TierOptions | None:
    objects = tier_objects(settings)
    if objects is None:
        return None
    if not settings.log_compress:
        raise SettingsError("log_tier_url needs log_compress: only packed segments are moved")
    after_ms = round(settings.log_tier_after_h * 3_600_000)
    # Journals stay: a start must not wait for another machine.
    return TierOptions(objects, after_ms, settings.log_tier_cache_size_max, prefix="streams/")
