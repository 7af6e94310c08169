"""Which applications exist. `apply` is the only mutator; restart is replay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from analytics.api.events import (
    ApplicationSnapshot,
    Begin,
    Changed,
    Configuration,
    Created,
    Deleted,
    Deleting,
    Event,
    Snapshot,
    Started,
    StateKept,
    Stopped,
    Tagged,
    Version,
)
from streams.core.scope import Scope

LAST_STOPPED_POINT = "LAST_STOPPED_POINT"

VERSIONS_KEPT = 10
"""Versions that can be described and gone back to: each may hold 100 KB of code."""


@dataclass(slots=True, eq=False)
class Application:
    """One application. `generation` counts how often its state was begun anew, `state` is the name of what is kept of it
    for other processes."""

    created: Created
    versions: list[Version]
    updated_ms: int
    begins: dict[str, Begin] = field(default_factory=dict)
    running: bool = False
    generation: int = 0
    deleting: bool = False
    state: str = ""

    @property
    def number(self) -> int:
        return self.created.number

    @property
    def name(self) -> str:
        return self.created.name

    @property
    def scope(self) -> Scope:
        return Scope(self.created.account, self.created.region)

    @property
    def arn(self) -> str:
        return self.scope.application_arn(self.name)

    @property
    def version(self) -> int:
        return self.versions[-1].number

    @property
    def configuration(self) -> Configuration:
        return self.versions[-1].configuration

    @property
    def tags(self) -> dict[str, str]:
        return self.created.tags


class Catalog:
    def __init__(self) -> None:
        self.next_number = 1
        self._applications: dict[tuple[str, str, str], Application] = {}
        self._by_number: dict[int, Application] = {}

    def __iter__(self) -> Iterator[Application]:
        return iter(list(self._applications.values()))

    def get(self, scope: Scope, name: str) -> Application | None:
        return self._applications.get((scope.account, scope.region, name))

    def names(self, scope: Scope) -> list[str]:
        """Applications of the scope, sorted."""
        mine = (scope.account, scope.region)
        return sorted(name for account, region, name in self._applications if (account, region) == mine)

    def by_number(self, number: int) -> Application | None:
        return self._by_number.get(number)

    def apply(self, event: Event) -> None:
        if isinstance(event, Created):
            self._add(Application(event, [Version(1, event.at_ms, event.configuration)], event.at_ms))
            self.next_number = max(self.next_number, event.number + 1)
            return
        found = self._by_number.get(event.number)
        if found is None:
            return  # what was still asked of an application that is gone
        match event:
            case Changed():
                found.versions.append(Version(found.version + 1, event.at_ms, event.configuration))
                del found.versions[:-VERSIONS_KEPT]
                found.updated_ms = event.at_ms
                if event.anew:
                    found.generation += 1
                    ids = [given["Id"] for given in event.configuration.inputs]
                    found.begins = {each: Begin("NOW", event.at_ms) for each in ids}
            case Tagged():
                found.created = msgspec.structs.replace(found.created, tags=event.tags)
            case Started():
                found.running = True
                if any(begin.position != LAST_STOPPED_POINT for begin in event.begins.values()):
                    found.generation += 1
                    found.begins = event.begins
                else:
                    # A first start from there has nothing to go on from but what the stream still holds.
                    found.begins = {
                        each: msgspec.structs.replace(found.begins.get(each, begin), resumed=True)
                        for each, begin in event.begins.items()
                    }
            case Stopped():
                found.running = False
            case StateKept():
                found.state = event.name
            case Deleting():
                found.running, found.deleting = False, True
            case Deleted():
                created = self._by_number.pop(event.number).created
                del self._applications[created.account, created.region, created.name]

    def snapshot(self) -> Snapshot:
        kept = [
            ApplicationSnapshot(
                one.created,
                tuple(one.versions),
                one.updated_ms,
                one.begins,
                one.running,
                one.generation,
                one.deleting,
                one.state,
            )
            for one in self._applications.values()
        ]
        return Snapshot(self.next_number, tuple(kept))

    def restore(self, snapshot: Snapshot) -> None:
        for kept in snapshot.applications:
            self._add(
                Application(
                    kept.created,
                    list(kept.versions),
                    kept.updated_ms,
                    kept.begins,
                    kept.running,
                    kept.generation,
                    kept.deleting,
                    kept.state,
                )
            )
        self.next_number = snapshot.next_number

    def _add(self, application: Application) -> None:
        created = application.created
        self._applications[created.account, created.region, created.name] = application
        self._by_number[created.number] = application
