"""The packer: packs what was sealed, one segment at a time, in a thread of its own pace; appends never wait for it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable

from streams.log import packing
from streams.log.disk import Disk
from streams.log.segments import Segment
from streams.log.shard import Shard

log = logging.getLogger(__name__)

SHARE = 0.25
"""Of the time in which the packer works, and else rests: appends at full speed share two cores and the interpreter with
it. What it packs in that time is still more than a hundred MB/s."""

PAUSE_S_MAX = 0.5
"""A frame that took very long is no reason to rest longer: the log may be waiting to close."""

Publish = Callable[[Shard, Segment, Segment], Awaitable[bool]]


class Packer:
    """From `start` to `stop`. `publish` is awaited with the shard, a segment and the one that is to take its place, and
    answers whether it has; it raises `OSError`. What the disk refuses to pack waits until another segment is sealed."""

    def __init__(self, disk: Disk, publish: Publish) -> None:
        self._disk = disk
        self._publish = publish
        self._waiting: deque[tuple[Shard, Segment]] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._stopped = threading.Event()
        self._worked_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="log-packer")

    def sealed(self, shard: Shard, segment: Segment) -> None:
        """The segment grows no more."""
        self._waiting.append((shard, segment))
        self._idle.clear()
        self._wake.set()

    async def idle(self) -> None:
        """All that was sealed before is packed, or cannot be."""
        await self._idle.wait()

    async def stop(self) -> None:
        """Gives up what is under way; the next opening does it again."""
        self._stopped.set()
        self._wake.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            refused: list[tuple[Shard, Segment]] = []
            while self._waiting and not self._stopped.is_set():
                shard, segment = self._waiting.popleft()
                if not await self._pack(shard, segment):
                    refused.append((shard, segment))
            self._waiting.extend(refused)
            if not self._wake.is_set():
                self._idle.set()
                await self._wake.wait()
        self._idle.set()

    async def _pack(self, shard: Shard, segment: Segment) -> bool:
        """Whether it is done with."""
        if not shard.holds(segment):
            return True
        done = False
        try:
            packed = await asyncio.to_thread(self._pack_slowly, segment)
            if packed is not None:
                done = await self._publish(shard, segment, packed)
        except FileNotFoundError:
            return True  # trimmed or dropped meanwhile
        except OSError as error:
            log.warning("%s: not packed now, it will be tried again: %s", segment.path, error)
            return not shard.holds(segment)
        except Exception:
            log.exception("%s: cannot be packed and stays as it is", segment.path)
        finally:
            if not done:
                await asyncio.to_thread(self._discard, segment)
        return True

    def _pack_slowly(self, segment: Segment) -> Segment | None:
        self._worked_at = time.monotonic()
        return packing.pack(self._disk, segment, self._rest)

    def _rest(self) -> bool:
        """Between two frames; whether to go on."""
        worked_s = time.monotonic() - self._worked_at
        stopped = self._stopped.wait(min(PAUSE_S_MAX, worked_s * (1 / SHARE - 1)))
        self._worked_at = time.monotonic()
        return not stopped

    def _discard(self, segment: Segment) -> None:
        try:
            packing.discard(self._disk, segment)
        except OSError as error:
            log.warning(
                "%s: what an unfinished packing has left is there until the next opening: %s", segment.path, error
            )
