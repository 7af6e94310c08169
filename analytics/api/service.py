"""`Analytics`: Kinesis Data Analytics for SQL, whole. Operations by name through `call`; each application's process behind it."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

import msgspec

from analytics.api import tags, v1, v2
from analytics.api.book import Book
from analytics.api.catalog import Application
from analytics.api.context import Context
from analytics.api.events import Deleted
from analytics.api.handover import Kept, shelf_of
from analytics.api.specification import DeliverySource, specify, state_folder
from analytics.api.stopped import AfterReaders, Stopped
from analytics.worker.asking import Questions
from analytics.worker.messages import Run, Seen
from analytics.worker.supervisor import Health, Supervisor
from connectors.functions.registry import Functions
from streams.control.depot import Depot
from streams.control.journal import Journal
from streams.core.clock import Clock, SystemClock
from streams.core.errors import ResourceInUse, UnsupportedOperation
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.core.work import ALONE, Work, application_item, part_of
from streams.sdk.client import Client

DRAIN_S = 5.0
"""How long a micro-batch may take to end when the server stops; what is not committed then is done again."""

Operation = Callable[[Context, Any, Scope], Awaitable[Any]]

V1: dict[str, Operation] = {
    "AddApplicationCloudWatchLoggingOption": v1.add_application_cloud_watch_logging_option,
    "AddApplicationInput": v1.add_application_input,
    "AddApplicationInputProcessingConfiguration": v1.add_application_input_processing_configuration,
    "AddApplicationOutput": v1.add_application_output,
    "AddApplicationReferenceDataSource": v1.add_application_reference_data_source,
    "CreateApplication": v1.create_application,
    "DeleteApplication": v1.delete_application,
    "DeleteApplicationCloudWatchLoggingOption": v1.delete_application_cloud_watch_logging_option,
    "DeleteApplicationInputProcessingConfiguration": v1.delete_application_input_processing_configuration,
    "DeleteApplicationOutput": v1.delete_application_output,
    "DeleteApplicationReferenceDataSource": v1.delete_application_reference_data_source,
    "DescribeApplication": v1.describe_application,
    "DiscoverInputSchema": v1.discover_input_schema,
    "ListApplications": v1.list_applications,
    "ListTagsForResource": tags.list_tags_for_resource,
    "StartApplication": v1.start_application,
    "StopApplication": v1.stop_application,
    "TagResource": tags.tag_resource,
    "UntagResource": tags.untag_resource,
    "UpdateApplication": v1.update_application,
}

V2: dict[str, Operation] = {
    "AddApplicationCloudWatchLoggingOption": v2.add_application_cloud_watch_logging_option,
    "AddApplicationInput": v2.add_application_input,
    "AddApplicationInputProcessingConfiguration": v2.add_application_input_processing_configuration,
    "AddApplicationOutput": v2.add_application_output,
    "AddApplicationReferenceDataSource": v2.add_application_reference_data_source,
    "CreateApplication": v2.create_application,
    "DeleteApplication": v2.delete_application,
    "DeleteApplicationCloudWatchLoggingOption": v2.delete_application_cloud_watch_logging_option,
    "DeleteApplicationInputProcessingConfiguration": v2.delete_application_input_processing_configuration,
    "DeleteApplicationOutput": v2.delete_application_output,
    "DeleteApplicationReferenceDataSource": v2.delete_application_reference_data_source,
    "DescribeApplication": v2.describe_application,
    "DescribeApplicationVersion": v2.describe_application_version,
    "DiscoverInputSchema": v2.discover_input_schema,
    "ListApplicationVersions": v2.list_application_versions,
    "ListApplications": v2.list_applications,
    "ListTagsForResource": tags.list_tags_for_resource,
    "RollbackApplication": v2.rollback_application,
    "StartApplication": v2.start_application,
    "StopApplication": v2.stop_application,
    "TagResource": tags.tag_resource,
    "UntagResource": tags.untag_resource,
    "UpdateApplication": v2.update_application,
}


class Second:
    """The second API over the same applications, as the desk sees a service."""

    implemented: frozenset[str] = frozenset(V2)

    def __init__(self, analytics: Analytics) -> None:
        self._analytics = analytics

    async def call(self, operation: str, request: Any, scope: Scope) -> Any:
        """Raises `RequestError`."""
        run = V2.get(operation)
        if run is None:
            raise UnsupportedOperation(
                f"{operation} is supported only for applications of Apache Flink; Headrace runs those of the runtime SQL-1_0."
            )
        return await self._analytics.answer(run, request, scope)

    async def item(self, operation: str, request: Any, scope: Scope) -> str | None:
        return await self._analytics.item(operation, request, scope)

    def resource(self, request: Any, scope: Scope) -> str | None:
        return self._analytics.resource(request, scope)


class Analytics:
    """Applications over the given journal. `client_for` answers the streams of a scope, `door` is the URL at which their
    processes reach them and the functions; `delivery_source` as `Context` has it.

    Where processes share the log, this one runs the applications of the parts that it takes, and keeps their states in the
    `depot` for the others."""

    implemented: frozenset[str] = frozenset(V1)

    def __init__(
        self,
        journal: Journal,
        client_for: Callable[[Scope], Client],
        door: str,
        *,
        functions: Functions,
        delivery_source: DeliverySource = lambda _scope, _name: None,
        settings: Settings | None = None,
        clock: Clock | None = None,
        work: Work = ALONE,
        depot: Depot | None = None,
    ) -> None:
        self._settings = settings or Settings()
        self._clock = clock or SystemClock()
        self._book = Book(journal, self._clock, work)
        self._book.renewed = self._renewed
        self._depot = depot
        self._parts: frozenset[int] = frozenset()
        self._supervisors: dict[int, Supervisor] = {}
        self._stops: set[asyncio.Task[None]] = set()
        self._closing = False
        self._ahead_ms = 0
        self.context = Context(
            self._book,
            client_for,
            delivery_source,
            self._settings,
            self._clock,
            door,
            Questions(self._clock),
            functions,
            self._supervisors,
            self._start,
            self._renew,
            self._stop,
            self._mine,
        )

        self._stopped = Stopped(self.context.questions, self._settings, self._handover)
        self.second = Second(self)

    async def open(self) -> None:
        """Replays what exists; what ran when the last process stopped goes on where it was, where processes share the log
        once its part is taken."""
        await self._book.open()
        if not self._book.shared:
            await self._go_on(self._book.catalog)

    async def take(self, parts: Collection[int]) -> None:
        """The applications of these parts go on where their process before stopped. Raises `LogError`."""
        await self._book.claim(parts)
        self._parts |= frozenset(parts)
        await self._go_on(one for one in self._book.catalog if _part(one) in parts)

    async def release(self, parts: Collection[int]) -> None:
        """Those of these parts come to the end of their micro-batch, and run here no more."""
        leaving = [one for one in self._book.catalog if _part(one) in parts]
        supervisors = [each for one in leaving if (each := self._supervisors.pop(one.number, None)) is not None]
        await asyncio.gather(*(supervisor.stop(DRAIN_S) for supervisor in supervisors))
        await self._book.quiet()
        self._parts -= frozenset(parts)
        self._book.release(parts)

    def _mine(self, application: Application) -> bool:
        return not self._book.shared or _part(application) in self._parts

    def _renewed(self) -> None:
        """Supervisors ask for what is to run by what the catalog no longer is."""
        for application in self._book.catalog:
            old = self._supervisors.pop(application.number, None)
            if old is not None:
                self._stops.add(task := asyncio.create_task(self._replace(old, application)))
                task.add_done_callback(self._stops.discard)

    async def _replace(self, old: Supervisor, application: Application) -> None:
        await old.stop()
        if application.running and self._mine(application) and not self._closing:
            self._start(application)

    async def _go_on(self, applications: Iterable[Application]) -> None:
        for application in applications:
            if application.deleting:
                await self._finish(application)
            elif application.running:
                self._start(application)

    async def close(self) -> None:
        """Every application comes to the end of its micro-batch. Closing twice does nothing."""
        self._closing = True
        await asyncio.gather(*self._stops)
        supervisors = list(self._supervisors.values())
        self._supervisors.clear()
        await asyncio.gather(*(supervisor.stop(DRAIN_S) for supervisor in supervisors))
        await self.context.questions.close()
        await self._book.close()

    async def call(self, operation: str, request: Any, scope: Scope) -> Any:
        """The reply of an operation of the first API. Raises `RequestError`."""
        run = V1.get(operation)
        if run is None:
            raise UnsupportedOperation(f"Headrace does not offer {operation} yet.")
        return await self.answer(run, request, scope)

    async def answer(self, run: Operation, request: Any, scope: Scope) -> Any:
        """The reply of an operation, which knows what any process had done before. Raises `RequestError`."""
        await self._book.current()
        return await run(self.context, request, scope)

    async def item(self, operation: str, request: Any, scope: Scope) -> str | None:
        """The item of the work whose owner answers a request; None where any process does."""
        name = getattr(request, "application_name", None)
        if name is None:
            name = (getattr(request, "resource_arn", None) or "").rpartition(":application/")[2]
        return application_item(scope, name) if name else None

    def resource(self, request: Any, scope: Scope) -> str | None:
        """The ARN of the application that a request is about; None where it is about none."""
        name = getattr(request, "application_name", None)
        return getattr(request, "resource_arn", None) if name is None else scope.application_arn(name)

    def health(self, scope: Scope, name: str) -> dict[str, Any]:
        """How an application is, beyond what AWS tells of it. Raises `ResourceNotFound`."""
        application = self.context.application(scope, name)
        supervisor = self._supervisors.get(application.number)
        told = {
            "name": name,
            "arn": application.arn,
            "status": self.context.status(application),
            "version": application.version,
        }
        return told | ({} if supervisor is None else dataclasses.asdict(supervisor.health))

    async def set_clock(self, ahead_ms: int) -> None:
        """The clocks of all applications are so far ahead of the machine's from now on, as the server's own may be in tests."""
        self._ahead_ms = ahead_ms
        await asyncio.gather(*(supervisor.set_clock(ahead_ms) for supervisor in self._supervisors.values()))

    def running(self) -> list[tuple[Scope, str, Health]]:
        """The applications that are to run, and how each is."""
        found = [(one, self._supervisors.get(one.number)) for one in self._book.catalog]
        return [(one.scope, one.name, supervisor.health) for one, supervisor in found if supervisor is not None]

    async def seen(self, scope: Scope, name: str, after: int | None, wait_ms: int) -> tuple[int, list[Seen]]:
        """Rows of a running application, see `Supervisor.seen`. Raises `ResourceNotFound`, `ResourceInUse`."""
        supervisor = self._supervisors.get(self.context.application(scope, name).number)
        if supervisor is None:
            raise ResourceInUse(f"Application {scope.application_arn(name)} is not running.")
        return await supervisor.seen(after, wait_ms)

    async def read(self, scope: Scope, name: str, tables: dict[str, list[str] | None], path: str) -> None:
        """Tables of an application, see `Supervisor.read`; of one that does not run, as it left them."""
        application = self.context.application(scope, name)
        supervisor = self._supervisors.get(application.number)
        if supervisor is None:
            await self._stopped.read(application, tables, path)
        else:
            await supervisor.read(tables, path)

    async def tables(self, scope: Scope, name: str) -> dict[str, dict[str, Any]]:
        """What `read` has, by name: kind, and types of columns by name. Raises `ResourceNotFound`, and what `read` does."""
        application = self.context.application(scope, name)
        supervisor = self._supervisors.get(application.number)
        if supervisor is not None:
            return supervisor.health.tables
        found = await self._stopped.tables(application)
        return {name: {"kind": each.kind, "columns": each.columns} for name, each in found.items()}

    def _start(self, application: Application) -> None:
        def specification() -> Run:
            kept = self._depot is not None
            run = specify(application, self._settings, self.context.door, self.context.delivery_source, kept=kept)
            return msgspec.structs.replace(run, ahead_ms=self._ahead_ms)

        handover = AfterReaders(application, self._stopped, self._handover(application))
        supervisor = Supervisor(application.name, specification, self._clock, handover)
        self._supervisors[application.number] = supervisor
        supervisor.start()

    def _handover(self, application: Application) -> Kept | None:
        if self._depot is None:
            return None
        return Kept(application, self._book, self._depot, self._settings, self._clock)

    def _renew(self, application: Application) -> None:
        self._supervisors[application.number].renew()

    def _stop(self, application: Application) -> asyncio.Task[None]:
        task = asyncio.create_task(self._end(application), name=f"application {application.name} stops")
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)
        return task

    async def _end(self, application: Application) -> None:
        supervisor = self._supervisors.get(application.number)
        if supervisor is not None:
            await supervisor.stop()
            self._supervisors.pop(application.number, None)
        if application.deleting:
            await self._finish(application)

    async def _finish(self, application: Application) -> None:
        """Also at the start, for an application whose deletion a crash interrupted."""
        folder = state_folder(application, self._settings)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if self._depot is not None:
            await self._depot.drop(shelf_of(application))
        await self._book.commit(Deleted(application.number, self._clock.now_ms()))


def _part(application: Application) -> int:
    return part_of(application_item(application.scope, application.name))
