"""What delivers: the delivery streams, how far each has come, and the tables of their schemas. `apply` is the only
mutator; restart is replay."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from firehose.events import (
    BACKUP,
    MAIN,
    BackedUp,
    ColumnsAnswered,
    ColumnsAsked,
    Created,
    DatabaseCreated,
    DatabaseDeleted,
    DatabaseUpdated,
    Deleted,
    Deleting,
    Delivered,
    EncryptionSet,
    Event,
    LaneEvent,
    LaneSnapshot,
    Lost,
    Passed,
    Planned,
    Rebased,
    SchemaTaken,
    Snapshot,
    StreamEvent,
    StreamSnapshot,
    TableCreated,
    TableDeleted,
    TableUpdated,
    TableVersionsDeleted,
    Tagged,
    Updated,
)
from firehose.ledger import Coverage, Ledger
from firehose.stream import DeliveryStream, Lane
from firehose.tables import Tables
from streams.core.scope import Scope


class Catalog:
    def __init__(self) -> None:
        self.next_number = 1
        self._streams: dict[tuple[str, str, str], DeliveryStream] = {}
        self._by_number: dict[int, DeliveryStream] = {}
        self.tables = Tables()

    def __iter__(self) -> Iterator[DeliveryStream]:
        return iter(list(self._streams.values()))

    def get(self, scope: Scope, name: str) -> DeliveryStream | None:
        return self._streams.get((scope.account, scope.region, name))

    def names(self, scope: Scope) -> list[str]:
        """Delivery streams of the scope, sorted."""
        return sorted(
            name for account, region, name in self._streams if (account, region) == (scope.account, scope.region)
        )

    def by_number(self, number: int) -> DeliveryStream | None:
        return self._by_number.get(number)

    def apply(self, event: Event) -> None:
        match event:
            case Created():
                stream = DeliveryStream(event)
                ledgers = {shard: Ledger(position) for shard, position in event.positions.items()}
                stream.lanes[MAIN] = Lane(stream, MAIN, event.source, ledgers)
                self._add(stream)
                self.next_number = max(self.next_number, event.number + 1)
            case (
                DatabaseCreated()
                | DatabaseUpdated()
                | DatabaseDeleted()
                | TableCreated()
                | TableUpdated()
                | TableDeleted()
                | TableVersionsDeleted()
            ):
                self.tables.apply(event)
            case ColumnsAsked() | ColumnsAnswered():
                pass  # what is asked and answered concerns who lives now
            case _:
                found = self._by_number.get(event.number)
                if found is not None:  # what a deleted stream was still doing changes nothing
                    self._apply(found, event)

    def _apply(self, stream: DeliveryStream, event: StreamEvent) -> None:
        match event:
            case Updated():
                stream.created = msgspec.structs.replace(
                    stream.created,
                    kind=event.kind,
                    destination=event.destination,
                    columns=event.columns,
                    table_version=event.table_version,
                )
                stream.updates += 1
                stream.updated_ms = event.at_ms
                if event.resplit:
                    stream.splits += 1
                    for lane in stream.lanes.values():
                        lane.forget_parts()
            case Tagged():
                stream.created = msgspec.structs.replace(stream.created, tags=event.tags)
            case EncryptionSet():
                stream.encrypt(event.encryption)
            case SchemaTaken():
                stream.created = msgspec.structs.replace(
                    stream.created, columns=event.columns, table_version=event.version
                )
            case BackedUp():
                stream.lanes[BACKUP] = stream.main.fork(BACKUP)
            case Deleting():
                stream.deleting_ms = event.at_ms
                for lane in stream.lanes.values():
                    lane.plans.clear()
            case Deleted():
                created = self._by_number.pop(event.number).created
                del self._streams[created.account, created.region, created.name]
            case _:
                _apply_to(stream.lanes[event.lane], event)

    def snapshot(self) -> Snapshot:
        return Snapshot(
            self.next_number,
            tuple(_snapshot(stream) for stream in self._streams.values()),
            *self.tables.snapshot(),
        )

    def restore(self, snapshot: Snapshot) -> None:
        self.tables.restore(snapshot.databases, snapshot.tables, snapshot.versions)
        for kept in snapshot.streams:
            stream = DeliveryStream(
                kept.created,
                updates=kept.version - 1,
                splits=kept.splits,
                updated_ms=kept.updated_ms,
                encryption_changes_ms=kept.encryption_changes_ms,
                deleting_ms=kept.deleting_ms,
            )
            stream.lanes[MAIN] = _lane(stream, MAIN, LaneSnapshot(kept.source, kept.positions, kept.ahead, kept.plans))
            if kept.backup is not None:
                stream.lanes[BACKUP] = _lane(stream, BACKUP, kept.backup)
            self._add(stream)
        self.next_number = snapshot.next_number

    def _add(self, stream: DeliveryStream) -> None:
        created = stream.created
        self._streams[created.account, created.region, created.name] = stream
        self._by_number[created.number] = stream


def _apply_to(lane: Lane, event: LaneEvent) -> None:
    match event:
        case Planned():
            lane.plans[event.plan.id] = event.plan
        case Delivered():
            plan = lane.plans.pop(event.plan, None)
            if plan is not None:
                lane.settle(plan, event.missing)
        case Lost():
            lane.ledger(event.shard).settle(event.coverage)
        case Passed():
            for coverage in event.coverage:
                lane.ledger(coverage.shard).settle(coverage)
        case Rebased():
            lane.rebase(event.source, event.positions)


def _snapshot(stream: DeliveryStream) -> StreamSnapshot:
    main, backup = stream.main, stream.lanes.get(BACKUP)
    return StreamSnapshot(
        stream.created,
        main.source,
        main.positions(),
        _ahead(main),
        tuple(main.plans.values()),
        stream.deleting_ms,
        1 + stream.updates,
        stream.updated_ms,
        stream.encryption_changes_ms,
        None
        if backup is None
        else LaneSnapshot(backup.source, backup.positions(), _ahead(backup), tuple(backup.plans.values())),
        stream.splits,
    )


def _ahead(lane: Lane) -> tuple[Coverage, ...]:
    ahead = (ledger.ahead(shard) for shard, ledger in lane.ledgers.items())
    return tuple(coverage for coverage in ahead if coverage is not None)


def _lane(stream: DeliveryStream, id: str, kept: LaneSnapshot) -> Lane:
    ledgers = {shard: Ledger(position) for shard, position in kept.positions.items()}
    lane = Lane(stream, id, kept.source, ledgers, {plan.id: plan for plan in kept.plans})
    for coverage in kept.ahead:
        lane.ledger(coverage.shard).settle(coverage)
    return lane
