"""What delivers: the delivery streams, how far each has come, and the tables of their schemas. `apply` is the only
mutator; restart is replay."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from firehose.events import (
    Created,
    DatabaseCreated,
    Deleted,
    Deleting,
    Delivered,
    Event,
    Lost,
    Plan,
    Planned,
    Rebased,
    Snapshot,
    SourceSpec,
    StreamEvent,
    StreamSnapshot,
    TableCreated,
)
from firehose.ledger import Ledger
from streams.core.scope import Scope

FIRST_VERSION = "1"


@dataclass(slots=True, eq=False)
class DeliveryStream:
    """One delivery stream. `ledgers` say per shard what is settled; `plans` are the open ones, in order."""

    created: Created
    source: SourceSpec
    ledgers: dict[str, Ledger]
    plans: dict[str, Plan] = field(default_factory=dict)
    deleting_ms: int | None = None

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
        return self.scope.delivery_stream_arn(self.name)

    @property
    def version(self) -> str:
        return FIRST_VERSION

    def ledger(self, shard: str) -> Ledger:
        """Of a shard that a resharding made since: from its beginning."""
        return self.ledgers.setdefault(shard, Ledger(0))

    def settle(self, plan: Plan, missing: Collection[str]) -> None:
        delivered = [part for one in plan.objects if one.key not in missing for part in one.coverage]
        for coverage in (*delivered, *plan.dropped):
            self.ledger(coverage.shard).settle(coverage)

    def positions(self) -> dict[str, int]:
        """Where reading begins again."""
        return {shard: ledger.low for shard, ledger in self.ledgers.items()}


class Catalog:
    def __init__(self) -> None:
        self.next_number = 1
        self._streams: dict[tuple[str, str, str], DeliveryStream] = {}
        self._by_number: dict[int, DeliveryStream] = {}
        self._databases: dict[tuple[str, str, str], DatabaseCreated] = {}
        self._tables: dict[tuple[str, str, str, str], TableCreated] = {}

    def __iter__(self) -> Iterator[DeliveryStream]:
        return iter(list(self._streams.values()))

    def get(self, scope: Scope, name: str) -> DeliveryStream | None:
        return self._streams.get((scope.account, scope.region, name))

    def names(self, scope: Scope) -> list[str]:
        """Delivery streams of the scope, sorted."""
        return sorted(
            name for account, region, name in self._streams if (account, region) == (scope.account, scope.region)
        )

    def database(self, scope: Scope, name: str) -> DatabaseCreated | None:
        return self._databases.get((scope.account, scope.region, name))

    def databases(self, scope: Scope) -> list[DatabaseCreated]:
        mine = (scope.account, scope.region)
        return sorted((d for d in self._databases.values() if (d.account, d.region) == mine), key=lambda d: d.name)

    def table(self, scope: Scope, database: str, name: str) -> TableCreated | None:
        return self._tables.get((scope.account, scope.region, database, name))

    def tables(self, scope: Scope, database: str) -> list[TableCreated]:
        mine = (scope.account, scope.region, database)
        found = (t for t in self._tables.values() if (t.account, t.region, t.database) == mine)
        return sorted(found, key=lambda table: table.name)

    def apply(self, event: Event) -> None:
        match event:
            case Created():
                ledgers = {shard: Ledger(position) for shard, position in event.positions.items()}
                self._add(DeliveryStream(event, event.source, ledgers))
                self.next_number = event.number + 1
            case DatabaseCreated():
                self._databases[event.account, event.region, event.name] = event
            case TableCreated():
                self._tables[event.account, event.region, event.database, event.name] = event
            case _:
                stream = self._by_number.get(event.number)
                if stream is not None:  # what a deleted stream was still doing changes nothing
                    self._apply(stream, event)

    def _apply(self, stream: DeliveryStream, event: StreamEvent) -> None:
        match event:
            case Deleting():
                stream.deleting_ms = event.at_ms
                stream.plans.clear()
            case Deleted():
                created = self._by_number.pop(event.number).created
                del self._streams[created.account, created.region, created.name]
            case Planned():
                stream.plans[event.plan.id] = event.plan
            case Delivered():
                plan = stream.plans.pop(event.plan, None)
                if plan is not None:
                    stream.settle(plan, event.missing)
            case Lost():
                stream.ledger(event.shard).skip_to(event.before)
            case Rebased():
                stream.source = event.source
                stream.ledgers = {shard: Ledger(position) for shard, position in event.positions.items()}

    def snapshot(self) -> Snapshot:
        return Snapshot(
            self.next_number,
            tuple(_snapshot(stream) for stream in self._streams.values()),
            tuple(self._databases.values()),
            tuple(self._tables.values()),
        )

    def restore(self, snapshot: Snapshot) -> None:
        for database in snapshot.databases:
            self.apply(database)
        for table in snapshot.tables:
            self.apply(table)
        for kept in snapshot.streams:
            ledgers = {shard: Ledger(position) for shard, position in kept.positions.items()}
            stream = DeliveryStream(
                kept.created, kept.source, ledgers, {plan.id: plan for plan in kept.plans}, kept.deleting_ms
            )
            for coverage in kept.ahead:
                stream.ledger(coverage.shard).settle(coverage)
            self._add(stream)
        self.next_number = snapshot.next_number

    def _add(self, stream: DeliveryStream) -> None:
        created = stream.created
        self._streams[created.account, created.region, created.name] = stream
        self._by_number[created.number] = stream


def _snapshot(stream: DeliveryStream) -> StreamSnapshot:
    ahead = (ledger.ahead(shard) for shard, ledger in stream.ledgers.items())
    return StreamSnapshot(
        stream.created,
        stream.source,
        stream.positions(),
        tuple(coverage for coverage in ahead if coverage is not None),
        tuple(stream.plans.values()),
        stream.deleting_ms,
    )
