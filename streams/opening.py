"""The log that the settings ask for, and the share in its work."""

from __future__ import annotations

import fcntl
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

from streams.core.clock import Clock
from streams.core.errors import ExtraMissing, LogError
from streams.core.settings import Settings
from streams.core.work import Moved, Work
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


class Membership(Work, Protocol):
    """A share in the work of a log, from `start` to `hold`; `close` gives it up."""

    async def start(self, advertise: str, moved: Moved) -> None: ...

    async def hold(self) -> None: ...

    async def close(self) -> None: ...


async def open_membership(log: Log, settings: Settings, stack: AsyncExitStack) -> Membership | None:
    """None where one process has the log for itself. The data directory is then this process's alone. Raises `LogError`."""
    if not log.shared:
        return None
    from streams.kafka.log import KafkaLog
    from streams.kafka.membership import Membership as KafkaMembership

    assert isinstance(log, KafkaLog), "no other log is shared"
    folder = settings.data_path / "work"
    _lock(folder, stack)
    membership = await KafkaMembership.open(
        log.address, log.cluster, folder, works=settings.work, session_s=settings.work_session_s
    )
    stack.push_async_callback(membership.close)
    return membership


def _lock(folder: Path, stack: AsyncExitStack) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    stack.callback(os.close, lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LogError(
            f"{folder.parent} is the data directory of another headrace that runs: each process that shares a log needs one"
            " of its own (setting data)"
        ) from error
