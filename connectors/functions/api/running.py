"""`Running`: recorded functions as what runs, and the code that they name, here and where other processes find it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from connectors.functions.api.code import Code, CodeStore
from connectors.functions.api.errors import InvalidParameterValue
from connectors.functions.api.records import Depot, Event, FunctionDeleted, FunctionRecord
from connectors.functions.api.shown import runnable
from connectors.functions.archive import ArchiveError
from connectors.functions.function import function_arn
from connectors.functions.registry import Callee, Functions
from streams.core.scope import Scope

log = logging.getLogger(__name__)

_ARCHIVE = "code.zip"


class Running:
    """`codes` says what code is named by any record; the rest goes once nothing runs of it."""

    def __init__(
        self, functions: Functions, code: CodeStore, depot: Depot | None, codes: Callable[[], set[str]]
    ) -> None:
        self.changing = asyncio.Lock()
        """Held from `save` until the code is named: what nothing names is swept."""
        self._functions = functions
        self._code = code
        self._depot = depot
        self._codes = codes
        self._followed: asyncio.Queue[Event] = asyncio.Queue()
        self._following: asyncio.Task[None] | None = None
        self._retired: set[Callee] = set()
        self._draining: set[asyncio.Task[None]] = set()

    async def open(self, records: Iterable[FunctionRecord], *, following: bool) -> None:
        """What was recorded runs; with `following`, what other processes change, too."""
        await asyncio.to_thread(self._code.sweep, self._codes())
        for record in records:
            await self._recall(record)
            self._functions.put(await asyncio.to_thread(runnable, record, self._code))
        if following:
            self._following = asyncio.create_task(self._follow_all(), name="functions of other processes")

    async def close(self) -> None:
        """Ends what still runs of functions that were changed or deleted."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await asyncio.gather(*(callee.close() for callee in self._retired))
        await asyncio.gather(*self._draining, return_exceptions=True)

    async def content(self, code: str) -> bytes:
        """The archive. Raises `OSError` where it is gone."""
        return await asyncio.to_thread(self._code.content, code)

    async def save(self, content: bytes) -> Code:
        """Raises `InvalidParameterValue`."""
        try:
            code = await asyncio.to_thread(self._code.save, content)
        except ArchiveError as error:
            raise InvalidParameterValue(error.message) from error
        if self._depot is not None:
            await self._depot.put(_shelf(code.name), _ARCHIVE, self._code.archive(code.name))
        return code

    async def forget(self, code: str) -> None:
        """The archive is where other processes find it only while something names it."""
        if self._depot is not None and code not in self._codes():
            await self._depot.drop(_shelf(code))

    async def apply(self, event: Event) -> None:
        """A change that is committed is what runs from now on; code that nothing names any more goes when its last call has
        ended."""
        arn = function_arn(Scope(event.account, event.region), event.name)
        if isinstance(event, FunctionDeleted):
            before = self._functions.drop(arn)
        else:
            await self._recall(event)
            before = self._functions.put(await asyncio.to_thread(runnable, event, self._code))
        if before is not None:
            task = asyncio.create_task(self._drain(before), name=f"end of {arn}")
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)

    def follow(self, event: Event) -> None:
        """Another process has committed `event`."""
        self._followed.put_nowait(event)

    async def _follow_all(self) -> None:
        while True:
            event = await self._followed.get()
            try:
                await self.apply(event)
            except Exception:
                log.exception("function %s could not be followed", event.name)

    async def _recall(self, record: FunctionRecord) -> None:
        """Its code is here, if another process has put it where it is found."""
        path = self._code.archive(record.code)
        if self._depot is not None and record.code and not path.exists():
            await self._depot.get(_shelf(record.code), _ARCHIVE, path)

    async def _drain(self, callee: Callee) -> None:
        self._retired.add(callee)
        await callee.retire()
        self._retired.discard(callee)
        async with self.changing:
            await asyncio.to_thread(self._code.sweep, self._codes())


def _shelf(code: str) -> str:
    return f"functions/{code}"
