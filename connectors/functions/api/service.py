"""`Lambda`: functions by Lambda's operations, over the functions that run."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import msgspec

from connectors.functions.api import invoking
from connectors.functions.api.code import Code, CodeStore, describe
from connectors.functions.api.configuration import changed, check_created, description
from connectors.functions.api.errors import (
    FunctionNotFound,
    InvalidParameterValue,
    PreconditionFailed,
    ResourceConflict,
    not_offered,
)
from connectors.functions.api.links import Links
from connectors.functions.api.names import Named, named
from connectors.functions.api.records import (
    Depot,
    Event,
    FunctionBook,
    FunctionDeleted,
    FunctionRecord,
    Journal,
    SharedJournal,
)
from connectors.functions.api.running import Running
from connectors.functions.api.shown import configured, state
from connectors.functions.api.sources import Sources
from connectors.functions.api.tags import tagged, untagged
from connectors.functions.function import function_arn
from connectors.functions.registry import Functions
from streams.core.clock import Clock
from streams.core.errors import ServiceUnavailable
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.core.work import FUNCTIONS

PAGE = 50
"""Functions of one answer, Lambda's own limit."""

_CHANGES = frozenset({"CreateFunction", "UpdateFunctionCode", "UpdateFunctionConfiguration", "DeleteFunction"})
"""Operations that one process answers, where several share the log."""

STALE = (
    "The RevisionId provided does not match the latest RevisionId. Call the GetFunction/GetAlias API to retrieve the "
    "latest RevisionId"
)
STOPPING = "The service is stopping."
OFF = "Functions cannot be created, changed or called here: function_api is off."


class Lambda:
    """`call(operation, request, scope)` as a service. What is created is in `journal` and in the data directory, and runs in
    `functions`. `secret` is what links to code are signed with; without one they end with the process."""

    def __init__(
        self,
        journal: Journal,
        functions: Functions,
        *,
        settings: Settings,
        clock: Clock,
        depot: Depot | None = None,
        secret: bytes | None = None,
    ) -> None:
        self._running = Running(functions, CodeStore(settings.data_path / "functions" / "code"), depot, self._codes)
        self._book = FunctionBook(journal, self._running.follow)
        self._shared = journal if isinstance(journal, SharedJournal) else None
        self._functions = functions
        self._settings = settings
        self._clock = clock
        self._sources = Sources(settings)
        self._links = Links(clock, secret or secrets.token_bytes(32))
        self._calls: set[asyncio.Task[dict[str, Any]]] = set()
        self._stopping = False
        self._operations: dict[str, Callable[[Any, Scope], Awaitable[dict[str, Any]]]] = {
            "CreateFunction": self._create,
            "GetFunction": self._get,
            "GetFunctionConfiguration": self._get_configuration,
            "ListFunctions": self._list,
            "ListVersionsByFunction": self._list_versions,
            "UpdateFunctionCode": self._update_code,
            "UpdateFunctionConfiguration": self._update_configuration,
            "DeleteFunction": self._delete,
            "Invoke": self._invoke,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTags": self._list_tags,
        }
        self.implemented = frozenset(self._operations)

    async def open(self) -> None:
        """What existed exists again. A function whose code is gone is there, and its calls say what is missing."""
        await self._book.open()
        await self._running.open(list(self._book), following=self._shared is not None)

    async def take(self, parts: Collection[int]) -> None:
        """Functions are created, changed and deleted here from now on, if that is in these parts of the work."""
        if self._shared is not None and self._shared.part in parts:
            await self._shared.claim()

    async def release(self, parts: Collection[int]) -> None:
        if self._shared is not None and self._shared.part in parts:
            self._shared.release()

    async def interrupt(self) -> None:
        """Whoever waits for a call is told that the service stops, instead of holding it up."""
        self._stopping = True
        for task in self._calls:
            task.cancel()

    async def close(self) -> None:
        """Ends what still runs of functions that were changed or deleted."""
        if self._shared is not None:
            await self._shared.close()
        await self._running.close()

    async def call(self, operation: str, request: Any, scope: Scope) -> dict[str, Any]:
        """The reply of a Lambda operation. Raises `RequestError`."""
        run = self._operations.get(operation)
        if run is None:
            raise not_offered(operation)
        if not self._settings.function_api:
            raise InvalidParameterValue(OFF)
        if self._shared is not None and operation != "Invoke":
            await self._shared.current()
        return await run(request, scope)

    async def item(self, operation: str, request: Any, scope: Scope) -> str | None:
        """The item of the work whose owner answers a request; None where any process does."""
        return FUNCTIONS if operation in _CHANGES else None

    def resource(self, request: Any, scope: Scope) -> str | None:
        """The ARN of the function that a request is about; None where it is about none."""
        name = getattr(request, "function_name", None) or getattr(request, "resource", None)
        return None if name is None else function_arn(scope, named(name, scope).name)

    async def download(self, path: str, query: str) -> bytes | None:
        """What is behind a link of GetFunction's; None for a path that is no such link. Raises `AccessDenied`,
        `FunctionNotFound`."""
        code = self._links.code(path, query)
        if code is None:
            return None
        try:
            return await self._running.content(code)
        except OSError as error:
            raise FunctionNotFound("The code is not there any more: the function was changed or deleted.") from error

    # Functions that are made and changed ------------------------------------------------------------------------------

    async def _create(self, request: Any, scope: Scope) -> dict[str, Any]:
        name = self._named(request, scope).name
        fields = changed(request)
        check_created(name, fields)
        self._check_new(scope, name)
        content = await self._sources.content(request.code)
        async with self._running.changing:
            code = await self._running.save(content)
            now_ms = self._clock.now_ms()

            def decide() -> Event:
                self._check_new(scope, name)
                return FunctionRecord(
                    account=scope.account,
                    region=scope.region,
                    name=name,
                    **fields,
                    **_coded(code),
                    revision=str(uuid.uuid4()),
                    created_ms=now_ms,
                    modified_ms=now_ms,
                )

            return self._described(await self._book.execute(decide, self._running.apply))

    async def _update_code(self, request: Any, scope: Scope) -> dict[str, Any]:
        record = self._changeable(request, scope)
        if request.publish or request.publish_to:
            raise not_offered("Publish: versions")
        self._check_revision(request, record)
        content = await self._sources.content(request)
        fields = _coded(describe(content))
        if request.architectures:
            fields["architectures"] = tuple(request.architectures)
        if request.dry_run:
            return self._described(msgspec.structs.replace(record, **fields))
        async with self._running.changing:
            await self._running.save(content)
            told = await self._update(request, scope, fields)
        await self._running.forget(record.code)
        return told

    async def _update_configuration(self, request: Any, scope: Scope) -> dict[str, Any]:
        self._changeable(request, scope)
        fields = changed(request)
        if "given" in fields:
            fields["given"] = {**self._record(request, scope).given, **fields["given"]}
        return await self._update(request, scope, fields)

    async def _update(self, request: Any, scope: Scope, fields: dict[str, Any]) -> dict[str, Any]:
        now_ms = self._clock.now_ms()

        def decide() -> Event:
            record = self._changeable(request, scope)
            self._check_revision(request, record)
            return msgspec.structs.replace(record, **fields, revision=str(uuid.uuid4()), modified_ms=now_ms)

        return self._described(await self._book.execute(decide, self._running.apply))

    async def _delete(self, request: Any, scope: Scope) -> dict[str, Any]:
        asked = self._named(request, scope)
        if asked.qualifier == "$LATEST":
            raise InvalidParameterValue("$LATEST version cannot be deleted without deleting the function.")

        def decide() -> Event:
            self._changeable(request, scope)
            return FunctionDeleted(scope.account, scope.region, asked.name)

        code = self._changeable(request, scope).code
        await self._book.execute(decide, self._running.apply)
        await self._running.forget(code)
        return {"StatusCode": 204}

    # Tags -------------------------------------------------------------------------------------------------------------

    async def _tag(self, request: Any, scope: Scope) -> dict[str, Any]:
        return await self._retag(request, scope, lambda tags: tagged(tags, request.tags))

    async def _untag(self, request: Any, scope: Scope) -> dict[str, Any]:
        return await self._retag(request, scope, lambda tags: untagged(tags, request.tag_keys))

    async def _list_tags(self, request: Any, scope: Scope) -> dict[str, Any]:
        return {"Tags": self._find(named(request.resource, scope), scope).tags}

    async def _retag(
        self, request: Any, scope: Scope, change: Callable[[dict[str, str]], dict[str, str]]
    ) -> dict[str, Any]:
        """Tags are no part of what runs: warm environments stay, and the revision."""

        def decide() -> Event:
            record = self._own(named(request.resource, scope), scope)
            return msgspec.structs.replace(record, tags=change(record.tags))

        async def nothing(_event: Event) -> None: ...

        await self._book.execute(decide, nothing)
        return {}

    # Functions that are shown and called ------------------------------------------------------------------------------

    async def _get(self, request: Any, scope: Scope) -> dict[str, Any]:
        record = self._record(request, scope)
        told: dict[str, Any] = {
            "Configuration": self._described(record, qualified=request.qualifier is not None),
            "Code": {"RepositoryType": "S3", **({"Location": self._links.link(record.code)} if record.code else {})},
        }
        if record.tags:
            told["Tags"] = record.tags
        return told

    async def _get_configuration(self, request: Any, scope: Scope) -> dict[str, Any]:
        return self._described(self._record(request, scope), qualified=request.qualifier is not None)

    async def _list(self, request: Any, scope: Scope) -> dict[str, Any]:
        found = [*self._book.of(scope), *configured(self._functions.configured.values(), scope)]
        rest = sorted((one for one in found if one.name > (request.marker or "")), key=lambda one: one.name)
        page = rest[: min(request.max_items or PAGE, PAGE)]
        qualified = request.function_version == "ALL"
        told: dict[str, Any] = {"Functions": [self._described(one, qualified=qualified) for one in page]}
        if len(page) < len(rest):
            told["NextMarker"] = page[-1].name
        return told

    async def _list_versions(self, request: Any, scope: Scope) -> dict[str, Any]:
        """The one that there is."""
        return {"Versions": [self._described(self._record(request, scope), qualified=True)]}

    async def _invoke(self, request: Any, scope: Scope) -> dict[str, Any]:
        record = self._record(request, scope)
        self._check_ready(record)
        call = invoking.invoke(self._functions, function_arn(scope, record.name), request)
        task = asyncio.create_task(call, name=f"call of {record.name}")
        self._calls.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if self._stopping and task.cancelled():
                raise ServiceUnavailable(STOPPING) from None
            task.cancel()
            raise
        finally:
            self._calls.discard(task)

    # What there is ----------------------------------------------------------------------------------------------------

    def _named(self, request: Any, scope: Scope) -> Named:
        return named(request.function_name, scope, getattr(request, "qualifier", None))

    def _record(self, request: Any, scope: Scope) -> FunctionRecord:
        """One that was created, or that the settings have. Raises `FunctionNotFound`."""
        return self._find(self._named(request, scope), scope)

    def _find(self, asked: Named, scope: Scope) -> FunctionRecord:
        record = self._book.get(scope, asked.name)
        if record is None:
            record = next(
                (one for one in configured(self._functions.configured.values(), scope) if one.name == asked.name), None
            )
        if record is None or asked.qualifier not in (None, "$LATEST"):
            raise FunctionNotFound(f"Function not found: {asked.arn(scope)}")
        return record

    def _changeable(self, request: Any, scope: Scope) -> FunctionRecord:
        """Raises `FunctionNotFound`, `ResourceConflict`."""
        return self._own(self._named(request, scope), scope)

    def _own(self, asked: Named, scope: Scope) -> FunctionRecord:
        record = self._find(asked, scope)
        if self._book.get(scope, record.name) is None:
            raise ResourceConflict(f"Function {record.name} is one of the server's settings: it is changed there.")
        self._check_ready(record)
        return record

    def _check_new(self, scope: Scope, name: str) -> None:
        if self._book.get(scope, name) is not None or name in self._functions.configured:
            raise ResourceConflict(f"Function already exist: {name}")

    def _check_ready(self, record: FunctionRecord) -> None:
        state = self._state(record)["State"]
        if state != "Active":
            raise ResourceConflict(
                "The operation cannot be performed at this time. The function is currently in the following state: "
                f"{state}"
            )

    def _check_revision(self, request: Any, record: FunctionRecord) -> None:
        if request.revision_id is not None and request.revision_id != record.revision:
            raise PreconditionFailed(STALE)

    def _codes(self) -> set[str]:
        return {record.code for record in self._book}

    def _state(self, record: FunctionRecord) -> dict[str, str]:
        return state(record, self._clock.now_ms(), self._settings)

    def _described(self, record: Event, *, qualified: bool = False) -> dict[str, Any]:
        assert isinstance(record, FunctionRecord)
        return description(record, self._state(record), qualified=qualified)


def _coded(code: Code) -> dict[str, Any]:
    return {"code": code.name, "code_sha256": code.sha256, "code_size": code.size}
