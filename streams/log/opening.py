"""The log that the settings ask for."""

from __future__ import annotations

from pathlib import Path

from streams.core.clock import Clock
from streams.core.settings import Settings
from streams.log.embedded import EmbeddedLog
from streams.log.sealing import keyring


async def open_log(settings: Settings, path: Path, clock: Clock) -> EmbeddedLog:
    """In the folder `path`. Raises `SettingsError`, and `LogError` where the folder cannot be used."""
    return await EmbeddedLog.open(
        path,
        clock=clock,
        sync=settings.log_sync,
        sync_interval_ms=settings.log_sync_interval_ms,
        segment_size_max=settings.log_segment_size_max,
        pending_size_max=settings.log_pending_size_max,
        compress=settings.log_compress,
        keyring=keyring(settings.encryption_key, settings.encryption_keys_old),
    )
