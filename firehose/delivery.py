"""Plan, deliver, commit: how records get into objects exactly once.

1. *Stage.* Every object is encoded and sealed into a file under ``firehose/staging`` of the data directory, and synced.
   Where processes share the log it is put into the depot too, where whoever takes over finds it.
2. *Plan.* The journal takes the names of the objects, their staged files, and the offsets that each covers.
3. *Deliver.* Each staged file becomes its object, create-only: a hard link where the store is a local directory.
4. *Commit.* The manifests say what came where, then the journal that it did; the offsets are settled, the staged files go.

A crash before 2 leaves nothing but stray files: the records are read again. A crash after 2 repeats 3 with the same bytes
under the same names, whatever the function, the configuration or the library versions would make of the records now.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from connectors.files import Store
from firehose import requests
from firehose.book import Book
from firehose.buffer import Chunk
from firehose.errors import ENDPOINT
from firehose.events import Delivered, Event, Plan, Planned, StagedObject
from firehose.manifests import Manifests
from firehose.meters import Meter
from firehose.posting import Poster
from firehose.staging import Staging
from firehose.stream import Lane
from streams.core.clock import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")

PAUSE_S_MAX = 60.0
"""The longest pause between two tries: how late a store that is back is noticed."""

PUBLISH_MAX = 8
"""Objects of one plan on their way at once: enough to hide a remote store's round trips."""


class Delivery:
    """Delivers for one lane, into the store that `open_store` answers for a bucket's name, or by `poster` to an HTTP
    endpoint."""

    def __init__(
        self,
        lane: Lane,
        open_store: Callable[[str], Store],
        staging: Staging,
        book: Book,
        clock: Clock,
        retry_s: float,
        manifests: Manifests,
        meter: Meter,
        poster: Poster | None = None,
    ) -> None:
        self._lane = lane
        self._open_store = open_store
        self._staging = staging
        self._book = book
        self._clock = clock
        self._retry_s = retry_s
        self._manifests = manifests
        self._meter = meter
        self._poster = poster
        self._publishing = asyncio.Semaphore(PUBLISH_MAX)

    async def resume(self) -> None:
        """Finishes the plans that were open at the last stop, and removes what no plan refers to."""
        await self._again("noting", self._manifests.begin)
        await asyncio.to_thread(self._staging.sweep)
        await self._again("recalling", self._staging.recall)
        for plan in list(self._lane.plans.values()):
            await self._finish(plan)

    async def deliver(self, chunks: Sequence[Chunk]) -> bool:
        """The chunks' records are settled when it returns, however long the store takes to answer. False: some of their
        staged bytes vanished, and the records have to be read again."""
        plan = await self._again("staging", lambda: asyncio.to_thread(self._staging.stage, chunks))
        await self._again("sharing", lambda: self._staging.share(plan.objects))
        planned = Planned(self._lane.number, plan, self._lane.id)
        await self._again("planning", lambda: self._book.commit(planned))
        return await self._finish(plan)

    async def _finish(self, plan: Plan) -> bool:
        async def publish(one: StagedObject) -> str | None:
            async with self._publishing:
                appeared = await self._publish(plan.id, one)
                return None if appeared else one.key

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(publish(one)) for one in plan.objects]
        missing = tuple(key for key in (task.result() for task in tasks) if key is not None)
        done_with = self._lane.plans.get(plan.id, plan)
        await self._again("noting", lambda: self._manifests.delivered(done_with, missing))
        used = {*plan.objects, *done_with.objects}
        done = Delivered(self._lane.number, plan.id, missing, self._lane.id)
        # Before the commit, which goes through even if this is cut short by then: who sees it settled sees it counted.
        self._count(done_with, missing)
        await self._again("committing", lambda: self._book.commit(done))
        await self._again("tidying", lambda: self._staging.forget(used))
        return not missing

    def _count(self, plan: Plan, missing: Sequence[str]) -> None:
        meter = self._meter
        for one in plan.objects:
            if one.key not in missing:
                meter.objects += 1
                meter.records += one.records
                meter.bytes += one.size
        meter.dropped += sum(part.count() for part in plan.dropped)

    async def _publish(self, plan: str, one: StagedObject) -> bool:
        """False: it is not where it belongs, and its bytes are gone."""
        if one.request:
            return await self._send(plan, one)
        return await self._again(one.key, lambda: asyncio.to_thread(self._put, one))

    def _put(self, one: StagedObject) -> bool:
        store = self._open_store(one.bucket)
        staged = self._staging.path(one)
        if staged.exists():
            store.publish(staged, one.key, one.encoding)
            return True
        if store.has(one.key, one.size):
            return True
        log.error("%s: the staged bytes of %s are gone; its records are read again", self._lane.title, one.key)
        return False

    async def _send(self, plan: str, one: StagedObject) -> bool:
        """To the endpoint; to the error output where the endpoint did not take it in time."""
        staged = self._staging.path(one)
        if self._poster is None or not staged.exists():
            why = "its staged bytes are gone" if self._poster else "the destination is another one now"
            log.warning("%s: request %s: %s; its records are read again", self._lane.title, one.key, why)
            return False
        request = requests.decode(await asyncio.to_thread(staged.read_bytes))
        given_up = await self._poster.send(request)
        if given_up is None:
            return True
        self._meter.failed[ENDPOINT] += len(request.ids)
        lines = request.failed(*given_up, self._clock.now_ms())
        oldest_ms = min(request.arrivals)
        instead = await self._again(
            "staging", lambda: asyncio.to_thread(self._staging.stage_failure, one, lines, oldest_ms)
        )
        await self._again("sharing", lambda: self._staging.share([instead]))
        await self._again("planning", lambda: self._book.execute(lambda *_: (None, self._replaced(plan, one, instead))))
        return await self._publish(plan, instead)

    def _replaced(self, id: str, one: StagedObject, instead: StagedObject) -> list[Event]:
        """The plan again, with `instead` in the place of `one`: what was given up stays given up through a crash."""
        plan = self._lane.plans.get(id)
        if plan is None:  # the delivery stream is being deleted
            return []
        objects = tuple(instead if other == one else other for other in plan.objects)
        return [Planned(self._lane.number, msgspec.structs.replace(plan, objects=objects), self._lane.id)]

    async def _again(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Tries until it works, with a pause that doubles: nothing is lost while a store or a disk is away, only late."""
        pause_s = self._retry_s
        while True:
            try:
                return await attempt()
            except Exception as error:
                self._meter.refusals += 1
                log.warning("%s: %s failed, again in %.1f s: %s", self._lane.title, what, pause_s, error)
            await self._clock.sleep(pause_s)
            pause_s = min(pause_s * 2, max(PAUSE_S_MAX, self._retry_s))
