"""A delivery stream, and its lanes. A lane is one way of its records into a store, with a place in the source and open
plans of its own.

Every delivery stream has the lane `MAIN`; one that keeps a copy of the original records has the lane `BACKUP` too. Lanes
read the source each for itself, so a record is settled in each exactly once and a slow one never holds the other up.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import msgspec

from firehose.events import MAIN, Created, Encryption, Plan, SourceSpec
from firehose.ledger import Ledger
from streams.core.scope import Scope

ENCRYPTION_CHANGES_MAX = 25
"""Starts and stops of encryption within `ENCRYPTION_WINDOW_MS`, together: AWS's limit."""
ENCRYPTION_WINDOW_MS = 24 * 3_600_000


@dataclass(slots=True, eq=False)
class DeliveryStream:
    """One delivery stream. `created` is as it was created, with what updates have changed of it since: destination,
    columns, tags, encryption. `splits` counts the changes of how records are taken apart."""

    created: Created
    lanes: dict[str, Lane] = field(default_factory=dict)
    updates: int = 0
    splits: int = 0
    updated_ms: int | None = None
    encryption_changes_ms: tuple[int, ...] = ()
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
        """As AWS's VersionId counts: from "1", one more with each update."""
        return str(1 + self.updates)

    @property
    def main(self) -> Lane:
        return self.lanes[MAIN]

    @property
    def source(self) -> SourceSpec:
        return self.main.source

    def encrypt(self, encryption: Encryption) -> None:
        self.created = msgspec.structs.replace(self.created, encryption=encryption)
        since_ms = encryption.at_ms - ENCRYPTION_WINDOW_MS
        recent = [at_ms for at_ms in self.encryption_changes_ms if at_ms > since_ms]
        self.encryption_changes_ms = (*recent, encryption.at_ms)[-ENCRYPTION_CHANGES_MAX:]


@dataclass(slots=True, eq=False)
class Lane:
    """`ledgers` say per shard what is settled; `plans` are the open ones, in order."""

    stream: DeliveryStream
    id: str
    source: SourceSpec
    ledgers: dict[str, Ledger]
    plans: dict[str, Plan] = field(default_factory=dict)

    @property
    def number(self) -> int:
        return self.stream.number

    @property
    def name(self) -> str:
        return self.stream.name

    @property
    def scope(self) -> Scope:
        return self.stream.scope

    @property
    def arn(self) -> str:
        return self.stream.arn

    @property
    def version(self) -> str:
        return self.stream.version

    @property
    def title(self) -> str:
        """How the server's log names it."""
        return self.arn if self.id == MAIN else f"{self.arn} ({self.id})"

    def ledger(self, shard: str) -> Ledger:
        """Of a shard that a resharding made since: from its beginning."""
        return self.ledgers.setdefault(shard, Ledger(0))

    def settle(self, plan: Plan, missing: Collection[str]) -> None:
        delivered = [part for one in plan.objects if one.key not in missing for part in one.coverage]
        for coverage in (*delivered, *plan.dropped):
            if plan.splits != self.stream.splits:  # those are parts of something else now
                coverage = msgspec.structs.replace(coverage, parts=None)
            self.ledger(coverage.shard).settle(coverage)

    def forget_parts(self) -> None:
        for ledger in self.ledgers.values():
            ledger.forget_parts()

    def positions(self) -> dict[str, int]:
        """Where reading begins again."""
        return {shard: ledger.low for shard, ledger in self.ledgers.items()}

    def rebase(self, source: SourceSpec, positions: dict[str, int]) -> None:
        self.source = source
        self.ledgers = {shard: Ledger(position) for shard, position in positions.items()}

    def fork(self, id: str) -> Lane:
        """A lane that begins where this one has come to."""
        ledgers = {shard: ledger.copy() for shard, ledger in self.ledgers.items()}
        return Lane(self.stream, id, self.source, ledgers)
