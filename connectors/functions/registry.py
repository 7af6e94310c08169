"""`Functions`: every function by name or ARN, wherever it runs, each with its environments."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from connectors.functions.archive import ArchiveError, unpack
from connectors.functions.environment import Outcome
from connectors.functions.errors import FunctionUnknown, StatementError
from connectors.functions.function import Function, function_arn, referenced
from connectors.functions.jq_program import JqProgram
from connectors.functions.output import LogFile
from connectors.functions.pool import FunctionPool
from connectors.functions.statements import JqFunction, Steps
from streams.core.errors import SettingsError
from streams.core.scope import Scope
from streams.core.settings import FunctionSettings, Settings

if TYPE_CHECKING:
    from connectors.functions.remote import Place

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Callee(Protocol):
    """A function that can be called: a pool of environments, or one that runs elsewhere."""

    async def call(self, event: bytes, *, request_id: str = "", client_context: str = "") -> Outcome: ...

    async def retire(self) -> None:
        """It is called no more; returns when what is under way has ended."""
        ...

    async def close(self) -> None:
        """What is under way is cut short."""
        ...


class Functions:
    """The `configured` functions, by name in every region, and those that are `put`, by ARN.

    `folder` keeps unpacked code, scratch space and logs; without one it is a temporary one, which goes with `close`.
    Raises `SettingsError`.
    """

    def __init__(
        self,
        configured: Mapping[str, str | FunctionSettings],
        *,
        timeout_s: float,
        folder: Path | None = None,
        scope: Scope | None = None,
    ) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="headrace-functions-")
            folder = Path(self._temporary.name)
        self._folder = folder
        self._callees: dict[str, Callee] = {}
        self._files: dict[str, LogFile] = {}
        self.configured: dict[str, Function] = {}
        for name, given in configured.items():
            if _NAME.fullmatch(name) is None:
                raise SettingsError(f"function {name!r}: a name has letters, digits, - and _, 64 at most")
            place = _place(name, given, timeout_s)
            arn = function_arn(scope or Scope(), name)
            statement = self._statement(name, arn, given, timeout_s, configured)
            if statement is not None:
                kind, self._callees[name] = statement
                function = Function(name=name, arn=arn, root=Path(), handler=kind, runtime="provided")
            elif place is None:
                function = self._configured(name, given, timeout_s, scope or Scope())
                self._callees[name] = self._pool(function, name)
            else:
                from connectors.functions.remote import RemoteFunction  # with a client: who calls nobody starts without

                function = Function(name=name, arn=arn, root=Path(), handler=place.url, runtime="provided")
                self._callees[name] = RemoteFunction(place)
            self.configured[name] = function

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Raises `SettingsError`."""
        folder = settings.data_path / "functions"
        return cls(settings.functions, timeout_s=settings.function_timeout_s, folder=folder, scope=settings.scope)

    async def call(self, function: str, event: bytes, *, request_id: str = "", client_context: str = "") -> Outcome:
        """`function` is a name or an ARN. Raises `FunctionUnknown`, `PayloadTooLarge`, `TooManyCalls`."""
        callee = self._callees.get(unqualified(function)) or self._callees.get(name_of(function))
        if callee is None:
            raise FunctionUnknown(f"Function not found: {function}")
        return await callee.call(event, request_id=request_id, client_context=client_context)

    async def invoke(self, function: str, event: bytes) -> bytes:
        """JSON in, JSON out. Raises a `FunctionError`."""
        outcome = await self.call(function, event)
        if outcome.fault is not None:
            raise outcome.fault
        return outcome.answer

    def put(self, function: Function) -> Callee | None:
        """This is what the function's ARN means from now on. Gives what it meant before, to be retired."""
        before = self._callees.get(function.arn)
        self._callees[function.arn] = self._pool(function, _log_of(function.arn))
        return before

    def drop(self, arn: str) -> Callee | None:
        """The function is gone. Gives what it was, to be retired."""
        self._files.pop(_log_of(arn), None)
        return self._callees.pop(arn, None)

    def __contains__(self, function: object) -> bool:
        """Whether there is a function of this name or ARN."""
        return isinstance(function, str) and (
            unqualified(function) in self._callees or name_of(function) in self._callees
        )

    async def close(self) -> None:
        callees, self._callees = self._callees, {}
        await asyncio.gather(*(callee.close() for callee in callees.values()))
        if self._temporary is not None:
            self._temporary.cleanup()

    def sweep(self) -> None:
        """Removes the scratch space of a process that was killed. For who has `folder` alone. Blocks."""
        shutil.rmtree(self._folder / "scratch", ignore_errors=True)

    def _pool(self, function: Function, log: str) -> FunctionPool:
        file = self._files.get(log)
        if file is None:
            file = self._files[log] = LogFile(self._folder / "logs" / f"{log}.log")
        return FunctionPool(function, scratch=self._folder / "scratch", file=file)

    def _statement(
        self,
        name: str,
        arn: str,
        given: str | FunctionSettings,
        timeout_s: float,
        configured: Mapping[str, str | FunctionSettings],
    ) -> tuple[str, Callee] | None:
        """What kind of statement a function is, and how it is called; None where it is code. Raises `SettingsError`."""
        if isinstance(given, str):
            return None
        try:
            if given.sql:
                from connectors.functions import sql_runner  # with DuckDB and a parser: who has none starts without

                function = sql_runner.function(
                    name,
                    arn,
                    given.sql,
                    given.columns,
                    timeout_s=given.timeout_s or timeout_s,
                    memory_mb=given.memory_mb,
                )
                return "sql", self._pool(function, name)
            if given.jq:
                program = JqProgram(given.jq, given.timeout_s or timeout_s, self._folder / "scratch")
                return "jq", JqFunction(name, program)
        except StatementError as error:
            raise SettingsError(f"function {name}: {error}") from error
        for step in given.steps:
            other = configured.get(step)
            if step == name or (isinstance(other, FunctionSettings) and other.steps):
                raise SettingsError(f"function {name}: step {step} has steps itself")
        return ("steps", Steps(name, given.steps, self.call)) if given.steps else None

    def _configured(self, name: str, given: str | FunctionSettings, timeout_s: float, scope: Scope) -> Function:
        if isinstance(given, str):
            return referenced(name, given, timeout_s=timeout_s)
        try:
            root = unpack(Path(given.zip).read_bytes(), self._folder / "code") if given.zip else Path(given.directory)
        except (OSError, ArchiveError) as error:
            raise SettingsError(f"function {name}: {given.zip} cannot be used: {error}") from error
        if not root.is_dir():
            raise SettingsError(f"function {name}: the directory {given.directory} does not exist")
        return Function(
            name=name,
            arn=function_arn(scope, name),
            root=root.resolve(),
            handler=given.handler,
            runtime=given.runtime,
            timeout_s=given.timeout_s or timeout_s,
            memory_mb=given.memory_mb,
            scratch_mb=given.scratch_mb,
            environment=given.environment,
        )


def _place(name: str, given: str | FunctionSettings, timeout_s: float) -> Place | None:
    """Where a function of the settings runs, if not here. Raises `SettingsError` for one that is in no place, or in two."""
    if isinstance(given, str):
        return None
    statement = (given.sql, given.jq, given.steps)
    if sum(map(bool, (given.directory, given.zip, given.url, given.arn, *statement))) != 1:
        raise SettingsError(
            f"function {name}: exactly one of directory, zip, url, arn, sql, jq and steps says what it is"
        )
    if any(statement):
        return None
    if given.url or given.arn:
        from connectors.functions.remote import Place
    if given.url:
        return Place(name, given.url, given.timeout_s or timeout_s)
    if given.arn:
        return Place.of_lambda(name, given.arn, given.endpoint, given.timeout_s or timeout_s)
    if not given.handler:
        raise SettingsError(f"function {name}: handler is missing, module.function in the code")
    return None


def _log_of(arn: str) -> str:
    _, _, _, region, account, _, name = arn.split(":")
    return f"{account}/{region}/{name}"


def unqualified(function: str) -> str:
    """An ARN without the ``:$LATEST`` at its end; any other qualifier stays, and names nothing."""
    return function.removesuffix(":$LATEST")


def name_of(function: str) -> str:
    """``arn:aws:lambda:us-east-1:000000000000:function:name`` → ``name``; a name is one."""
    parts = unqualified(function).split(":")
    return parts[6] if len(parts) == 7 and parts[5] == "function" else function
