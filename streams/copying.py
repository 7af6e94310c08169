"""The ends of a copy (see `streams.log.copying`) by their URLs: a data directory, or a log on Apache Kafka."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from streams.core.clock import SystemClock
from streams.core.errors import ExtraMissing, SettingsError
from streams.core.settings import Settings
from streams.log import opening
from streams.log.copying import Source, Target
from streams.log.filling import EmbeddedSource, EmbeddedTarget
from streams.log.sealing import keyring

_KAFKA = "kafka://"
_FILE = "file://"


async def open_source(settings: Settings, url: str) -> Source:
    """Raises `SettingsError`, `LogError`, `ExtraMissing`."""
    if not url.startswith(_KAFKA):
        path = _folder(url) / "log"
        if not (path / "FORMAT").exists():
            raise SettingsError(f"{url}: {path} holds no log")
        return EmbeddedSource(await opening.open_log(settings, path, SystemClock()))
    try:
        from streams.kafka.address import parse
        from streams.kafka.filling import KafkaSource
    except ModuleNotFoundError as error:
        raise ExtraMissing("kafka", f"the log at {url}") from error
    return await KafkaSource.open(parse(url))


async def open_target(settings: Settings, url: str) -> Target:
    """Raises `SettingsError`, `LogError`, `ExtraMissing`."""
    if not url.startswith(_KAFKA):
        return EmbeddedTarget(_folder(url) / "log", keyring(settings.encryption_key, settings.encryption_keys_old))
    try:
        from streams.kafka.address import parse
        from streams.kafka.filling import KafkaTarget
    except ModuleNotFoundError as error:
        raise ExtraMissing("kafka", f"the log at {url}") from error
    return await KafkaTarget.open(parse(url))


def identity(url: str) -> str:
    """What a log is called in the copies of it: without what may be said of it in another way, and without secrets."""
    if url.startswith(_KAFKA):
        parts = urlsplit(url)
        return f"{_KAFKA}{parts.netloc.rpartition('@')[2]}{parts.path}"
    return f"{_FILE}{_folder(url).resolve()}"


def _folder(url: str) -> Path:
    if not url.startswith(_FILE):
        if "://" in url:
            raise SettingsError(f"{url} is not the place of a log: file:///DATA or kafka://host:9092/prefix")
        return Path(url)
    parts = urlsplit(url)
    if parts.netloc:
        raise SettingsError(f"{url}: a data directory is written file:///PATH, with three slashes")
    return Path(unquote(parts.path))
