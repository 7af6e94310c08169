"""What applications have that do not run: the tables in the states that they left, read in a process of its own."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from analytics.api.catalog import Application
from analytics.api.specification import state_path
from analytics.worker.asking import Questions
from analytics.worker.child import ProcessEnded
from analytics.worker.messages import Failed, ReadState, Tables, TableSpec
from analytics.worker.supervisor import Handover
from streams.core.errors import InvalidArgument, ServiceUnavailable
from streams.core.settings import Settings


class Stopped:
    """`handover` of an application brings its state here, where processes share the log. While a state is read, its
    application does not start: `undisturbed` waits."""

    def __init__(
        self, questions: Questions, settings: Settings, handover: Callable[[Application], Handover | None]
    ) -> None:
        self._questions = questions
        self._settings = settings
        self._handover = handover
        self._readers: defaultdict[int, int] = defaultdict(int)
        self._free = asyncio.Condition()

    async def tables(self, application: Application) -> dict[str, TableSpec]:
        """What there is, by name. Raises `InvalidArgument` where nothing is, `ServiceUnavailable`."""
        async with self._reading(application):
            answer = await self._ask(application, ReadState(state_path(application, self._settings), None))
        assert isinstance(answer, Tables), "nothing else was asked for"
        return answer.tables

    async def read(self, application: Application, tables: dict[str, list[str] | None], path: str) -> None:
        """As `Supervisor.read`."""
        async with self._reading(application):
            await self._ask(application, ReadState(state_path(application, self._settings), tables, path))

    async def undisturbed(self, application: Application) -> None:
        """Nobody reads the state when this returns."""
        async with self._free:
            await self._free.wait_for(lambda: not self._readers[application.number])

    @asynccontextmanager
    async def _reading(self, application: Application) -> AsyncIterator[None]:
        self._readers[application.number] += 1
        try:
            handover = self._handover(application)
            if handover is not None and self._readers[application.number] == 1:
                await handover.recall()
            yield
        finally:
            self._readers[application.number] -= 1
            async with self._free:
                self._free.notify_all()

    async def _ask(self, application: Application, question: ReadState) -> object:
        try:
            answer = await self._questions.ask(question)
        except (ProcessEnded, OSError) as error:
            raise ServiceUnavailable(f"The state of {application.arn} cannot be read: {error}.") from error
        if isinstance(answer, Failed):
            raise InvalidArgument(
                answer.text if answer.program else f"Application {application.name} does not run, and {answer.text}."
            )
        return answer


class AfterReaders:
    """A `Handover` that first waits for whoever reads the state."""

    def __init__(self, application: Application, stopped: Stopped, inner: Handover | None) -> None:
        self._application = application
        self._stopped = stopped
        self._inner = inner

    async def recall(self) -> None:
        await self._stopped.undisturbed(self._application)
        if self._inner is not None:
            await self._inner.recall()

    async def keep(self) -> None:
        assert self._inner is not None, "it is told to keep only what others are to have"
        await self._inner.keep()
