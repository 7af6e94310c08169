"""The state of all consumer groups: positions and leases. Built from events; `apply` is the only mutator."""

from __future__ import annotations

from functools import singledispatchmethod
from typing import NamedTuple

from streams.groups.events import (
    Event,
    Forgotten,
    Founded,
    GroupKept,
    Leased,
    LeaseKept,
    Released,
    Saved,
    Snapshot,
)


class Lease(NamedTuple):
    """Who reads a shard. A `generation` is given once in a group: it fences whoever had the shard before."""

    member: str
    generation: int
    lease_ms: int


class Group:
    """positions  the offset to read next, by shard: what is before it is done
    intents    the end of the batch that is being worked on, where it was said
    leases     by shard
    """

    __slots__ = ("generation", "intents", "leases", "positions")

    def __init__(self, positions: dict[int, int]) -> None:
        self.generation = 0
        self.positions = dict(positions)
        self.intents: dict[int, int] = {}
        self.leases: dict[int, Lease] = {}


class State:
    def __init__(self) -> None:
        self.groups: dict[tuple[str, str], Group] = {}
        """By stream id and name."""

    @property
    def count(self) -> int:
        return sum(1 + len(group.positions) for group in self.groups.values())

    @singledispatchmethod
    def apply(self, event: Event) -> None:
        """What `event` says is so."""
        raise AssertionError(f"nobody applies {type(event).__name__}")

    @apply.register
    def _(self, event: Founded) -> None:
        self.groups[event.stream, event.group] = Group(event.positions)

    @apply.register
    def _(self, event: Leased) -> None:
        group = self._group(event)
        group.generation = event.generation
        group.leases[event.shard] = Lease(event.member, event.generation, event.lease_ms)

    @apply.register
    def _(self, event: Released) -> None:
        group = self._group(event)
        for shard in event.shards:
            group.leases.pop(shard, None)

    @apply.register
    def _(self, event: Saved) -> None:
        group = self._group(event)
        group.positions.update(event.positions)
        for shard, position in event.positions.items():
            if group.intents.get(shard, 0) <= position:
                group.intents.pop(shard, None)
        group.intents.update(event.intents)

    @apply.register
    def _(self, event: Forgotten) -> None:
        self.groups.pop((event.stream, event.group), None)

    def snapshot(self) -> Snapshot:
        return Snapshot(
            [
                GroupKept(
                    *(stream, name, group.generation, dict(group.positions), dict(group.intents)),
                    {shard: LeaseKept(*lease) for shard, lease in group.leases.items()},
                )
                for (stream, name), group in self.groups.items()
            ]
        )

    @classmethod
    def restored(cls, snapshot: Snapshot) -> State:
        state = cls()
        for kept in snapshot.groups:
            group = state.groups[kept.stream, kept.group] = Group(kept.positions)
            group.generation = kept.generation
            group.intents = dict(kept.intents)
            group.leases = {
                shard: Lease(lease.member, lease.generation, lease.lease_ms) for shard, lease in kept.leases.items()
            }
        return state

    def _group(self, event: Event) -> Group:
        return self.groups[event.stream, event.group]
