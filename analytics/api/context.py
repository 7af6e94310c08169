"""What the operations work with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from analytics.api.book import Book
from analytics.api.catalog import Application
from analytics.api.configuration import in_application_names
from analytics.api.errors import CodeValidation
from analytics.api.events import Configuration
from analytics.api.specification import schema_of
from analytics.worker.asking import Questions
from analytics.worker.child import ProcessEnded
from analytics.worker.messages import Check, Checked, Discover, Discovered, Event, Failed
from analytics.worker.supervisor import Supervisor
from connectors.functions.registry import Functions
from streams.core.clock import Clock
from streams.core.errors import ResourceInUse, ResourceNotFound, ServiceUnavailable
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.sdk.client import Client


@dataclass(slots=True)
class Context:
    """`delivery_source` gives the stream that a delivery stream's records are in, and whether it takes records directly;
    None where there is no such delivery stream. `started`, `renewed` and `stopped` act on an application that the book
    already has so; what takes long they do afterwards. `mine` says whether this process is to run it."""

    book: Book
    client_for: Callable[[Scope], Client]
    delivery_source: Callable[[Scope, str], tuple[str, bool] | None]
    settings: Settings
    clock: Clock
    door: str
    questions: Questions
    functions: Functions
    supervisors: dict[int, Supervisor]
    started: Callable[[Application], None]
    renewed: Callable[[Application], None]
    stopped: Callable[[Application], asyncio.Task[None]]
    mine: Callable[[Application], bool] = lambda _application: True

    def application(self, scope: Scope, name: str) -> Application:
        """Raises `ResourceNotFound`."""
        found = self.book.catalog.get(scope, name)
        if found is None:
            raise ResourceNotFound(f"Application {scope.application_arn(name)} not found.")
        return found

    def status(self, application: Application) -> str:
        """As AWS spells it."""
        if application.deleting:
            return "DELETING"
        supervisor = self.supervisors.get(application.number)
        if not self.mine(application):
            return "RUNNING" if application.running else "READY"
        if supervisor is None:
            return "STARTING" if application.running else "READY"
        if not application.running:
            return "STOPPING"
        return {"starting": "STARTING", "updating": "UPDATING"}.get(supervisor.health.phase, "RUNNING")

    def check_status(self, application: Application, *allowed: str) -> None:
        """Raises `ResourceInUse`."""
        status = self.status(application)
        if status not in allowed:
            raise ResourceInUse(
                f"Application {application.arn} is {status}; it must be {' or '.join(allowed)} for this operation."
            )

    async def check_code(self, configuration: Configuration) -> list[str]:
        """The in-application streams that the code makes. Raises `CodeValidation` where it does not fit its schemas."""
        if not configuration.code.strip():
            return []
        inputs = {
            name: schema_of(given["InputSchema"])
            for given in configuration.inputs
            for name in in_application_names(given)
        }
        references = {given["TableName"]: schema_of(given["ReferenceSchema"]) for given in configuration.references}
        answer = await self._ask(Check(configuration.code, inputs, references, self.settings.function_api))
        if isinstance(answer, Checked):
            return answer.streams
        raise CodeValidation(f"Invalid application code: {answer.text if isinstance(answer, Failed) else 'no answer'}")

    async def discover(self, records: list[bytes]) -> Discovered:
        answer = await self._ask(Discover(records))
        return answer if isinstance(answer, Discovered) else Discovered(None, [])

    async def _ask(self, question: Check | Discover) -> Event:
        try:
            return await self.questions.ask(question)
        except ProcessEnded as error:
            return Failed(error.message)
        except OSError as error:
            raise ServiceUnavailable(f"No process can be started: {error}.") from error


def tags_of(given: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(given.items())]
