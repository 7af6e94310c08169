"""The coordinator: members of consumer groups say that they live, and are told which shards are theirs.

    sync(what I read) ──▶ expire the silent, take back, balance, grant ──▶ what to read from now on

A shard goes over in two steps: whoever has it is no longer told so, stops, and says so by no longer naming it; then it is
given to the next. A member that is silent for its lease has lost its shards. Grants and positions are durable before they
are answered; who lives is known from being heard of, and after a restart everybody has one lease's time to be heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from streams.control.events import decode_as, encode
from streams.control.journal import Journal
from streams.control.store import Store
from streams.core.balance import balance
from streams.core.clock import Clock
from streams.core.errors import LimitExceeded, ResourceInUse, ResourceNotFound
from streams.core.waits import first
from streams.groups.events import Forgotten, Founded, Leased, Released, Saved, Snapshot, decode_event, dressed
from streams.groups.state import Group, State
from streams.log.log import Log

JOURNAL = "control/groups"

MEMBERS_MAX = 10_000
"""Members of one group: each waits on a connection of its own."""

GROUPS_MAX = 1_000
"""Groups of one stream."""


@dataclass(frozen=True, slots=True)
class ShardSeen:
    """A shard of the stream that still has records, or may get some."""

    index: int
    parents: tuple[int, ...]
    end: int | None


class View(Protocol):
    """The stream of a group."""

    id: str
    name: str

    def shards(self) -> Sequence[ShardSeen]: ...

    def change(self) -> Coroutine[Any, Any, Any]:
        """Returns when the stream has other shards than now."""
        ...


class Granted(NamedTuple):
    """A shard that a member is to read from `position` on; the batch up to `intent` first, and as one, where it is not
    None."""

    generation: int
    position: int
    intent: int | None


class Progress(NamedTuple):
    """What a member has done of a shard that it has under `generation`."""

    generation: int
    position: int
    intent: int | None = None


@dataclass(slots=True)
class _Member:
    deadline_ms: int
    lease_ms: int
    told: dict[int, int] = field(default_factory=dict)
    """Generations by shard, as last answered."""


class _Room:
    """One group's members."""

    def __init__(self) -> None:
        self.members: dict[str, _Member] = {}
        self.change = asyncio.Event()

    def changed(self) -> None:
        self.change.set()
        self.change = asyncio.Event()


class Coordinator:
    """Open it with `open`. One for all groups."""

    def __init__(self, store: Store[State], clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._rooms: dict[tuple[str, str], _Room] = {}
        self._stopping = False
        # Who had leases before a restart is given the time of one to be heard of.
        for key, group in store.state.groups.items():
            room = self._rooms[key] = _Room()
            for shard, lease in group.leases.items():
                deadline_ms = clock.now_ms() + lease.lease_ms
                member = room.members.setdefault(lease.member, _Member(deadline_ms, lease.lease_ms))
                member.told[shard] = lease.generation

    @classmethod
    async def open(cls, log: Log, clock: Clock, journal: str = JOURNAL) -> Coordinator:
        """Whoever opens it on the same journal ends what another one, before, could do. Raises `LogError`."""
        store = await Store.open(
            log,
            journal,
            fresh=State,
            restored=lambda data: State.restored(decode_as(Snapshot, data)),
            decode=decode_event,
            encode=lambda value: encode(dressed(value)),
        )
        return cls(store, clock)

    @staticmethod
    async def read(log: Log, journal: str) -> State:
        """What a journal tells of, which stays as it is. Raises `LogError`."""
        replay = await Journal(log, journal).open()
        state = State() if replay.snapshot is None else State.restored(decode_as(Snapshot, replay.snapshot))
        for data in replay.events:
            state.apply(decode_event(data))
        return state

    @property
    def fresh(self) -> bool:
        """Whether it never had a group."""
        return self._store.fresh

    async def adopt(self, groups: Mapping[tuple[str, str], Group]) -> None:
        """Groups of another journal go on here, with their positions; who read their shards is heard of again or loses them.
        Durable when it returns."""
        for (stream, name), group in groups.items():
            where = {"stream": stream, "group": name}
            self._store.record(Founded(**where, positions=dict(group.positions)))
            if group.intents:
                self._store.record(Saved(**where, positions={}, intents=dict(group.intents)))
            if group.generation:
                # Whoever still holds a lease of then must not be taken for the holder of a new one.
                numbered = Leased(**where, shard=0, member="", generation=group.generation, lease_ms=1)
                self._store.record(numbered)
                self._store.record(Released(**where, shards=[0]))
        await self._store.durable()

    @property
    def moved(self) -> bool:
        """Whether another process has opened the journal since: this one can do nothing more."""
        return self._store.moved

    def knows(self, stream: str, group: str) -> bool:
        return (stream, group) in self._store.state.groups

    async def found(self, stream: str, group: str, positions: Mapping[int, int]) -> None:
        """Makes the group, if it is not there. Durable when it returns. Raises `LimitExceeded`."""
        if self.knows(stream, group):
            return
        if sum(one == stream for one, _ in self._store.state.groups) >= GROUPS_MAX:
            raise LimitExceeded(f"The stream has {GROUPS_MAX} consumer groups, the most at a time.")
        self._store.record(Founded(stream=stream, group=group, positions=dict(positions)))
        await self._store.durable()

    async def sync(
        self, view: View, group: str, member: str, held: Mapping[int, int], lease_ms: int, wait_ms: int
    ) -> dict[int, Granted]:
        """What `member`, which reads `held` (generations by shard), is to read from now on. Answers as soon as that is
        something else, and after `wait_ms`, or a third of the lease, at the latest."""
        key = view.id, group
        room = self._rooms.setdefault(key, _Room())
        deadline_ms = self._clock.now_ms() + min(wait_ms, lease_ms // 3)
        while True:
            if not self.knows(*key):
                raise ResourceNotFound(f"Consumer group {group} of stream {view.name} not found.")
            now_ms = self._clock.now_ms()
            known = room.members.get(member)
            if known is None:
                if len(room.members) >= MEMBERS_MAX:
                    raise LimitExceeded(f"The consumer group has {MEMBERS_MAX} members, the most at a time.")
                known = room.members[member] = _Member(0, lease_ms)
                room.changed()
            known.deadline_ms, known.lease_ms = now_ms + lease_ms, lease_ms
            # What follows does not await, so that no two of them see half of it.
            self._take_back(key, room, member, held)
            self._settle(key, room, view)
            mine = self._mine(key, room, view, member)
            change = room.change
            told = {shard: one.generation for shard, one in mine.items()}
            # What it is to give up stays among what it was told, until it no longer names it.
            leases = self._store.state.groups[key].leases
            known.told = {
                shard: generation
                for shard, generation in known.told.items()
                if shard in leases and leases[shard].generation == generation
            } | told
            left_ms = deadline_ms - now_ms
            if told != held or left_ms <= 0 or self._stopping:
                await self._store.durable()
                return mine
            soonest_ms = min(one.deadline_ms for one in room.members.values()) - now_ms
            pause_s = max(0, min(left_ms, soonest_ms)) / 1000
            await first(change.wait(), view.change(), self._clock.sleep(pause_s))

    async def leave(self, view: View, group: str, member: str) -> None:
        """Its shards are free at once. Durable when it returns."""
        key = view.id, group
        room = self._rooms.get(key)
        if room is None or room.members.pop(member, None) is None:
            return
        self._settle(key, room, view)
        await self._store.durable()

    async def save(self, view: View, group: str, member: str, progress: Mapping[int, Progress]) -> None:
        """All of it, or none. Durable when it returns. Raises `ResourceInUse` where a shard is not (or no longer) the
        member's."""
        key = view.id, group
        found = self._store.state.groups.get(key)
        if found is None:
            raise ResourceNotFound(f"Consumer group {group} of stream {view.name} not found.")
        for shard, one in progress.items():
            lease = found.leases.get(shard)
            if lease is None or lease.member != member or lease.generation != one.generation:
                raise ResourceInUse(
                    f"Member {member} of consumer group {group} has lost shard {shard} of stream {view.name}: it was not"
                    " heard of for its lease, or the shard was given to another member."
                )
        event = Saved(
            stream=view.id,
            group=group,
            positions={shard: max(one.position, found.positions.get(shard, 0)) for shard, one in progress.items()},
            intents={shard: one.intent for shard, one in progress.items() if one.intent is not None},
        )
        self._store.record(event)
        ends = {shard.index: shard.end for shard in view.shards()}
        done = [shard for shard in progress if _finished(found, shard, ends.get(shard))]
        if done:
            self._store.record(Released(stream=view.id, group=group, shards=done))
            self._room(*key).changed()
        await self._store.durable()

    async def forget(self, view: View, group: str) -> None:
        """The group is gone, with its positions."""
        if not self.knows(view.id, group):
            raise ResourceNotFound(f"Consumer group {group} of stream {view.name} not found.")
        self._store.record(Forgotten(stream=view.id, group=group))
        room = self._rooms.pop((view.id, group), None)
        if room is not None:
            room.changed()
        await self._store.durable()

    def groups(self, stream: str) -> dict[str, tuple[Group, dict[str, int]]]:
        """The groups of a stream by name, each with its members and when they were heard of at the latest to stay."""
        return {
            name: (group, {member: one.deadline_ms for member, one in self._room(stream, name).members.items()})
            for (of, name), group in self._store.state.groups.items()
            if of == stream
        }

    def keep(self, streams: set[str]) -> None:
        """All other streams are gone, and with them their groups."""
        for stream, group in [key for key in self._store.state.groups if key[0] not in streams]:
            self._store.record(Forgotten(stream=stream, group=group))
            room = self._rooms.pop((stream, group), None)
            if room is not None:
                room.changed()

    def stop(self) -> None:
        """Whoever waits is answered."""
        self._stopping = True
        for room in self._rooms.values():
            room.changed()

    async def close(self) -> None:
        self.stop()
        await self._store.close()

    def _room(self, stream: str, group: str) -> _Room:
        return self._rooms.setdefault((stream, group), _Room())

    def _take_back(self, key: tuple[str, str], room: _Room, member: str, held: Mapping[int, int]) -> None:
        """What the member was told to read, and does not name, it has stopped to read."""
        leases = self._store.state.groups[key].leases
        told = room.members[member].told
        stopped = [
            shard
            for shard, lease in leases.items()
            if lease.member == member and told.get(shard) == lease.generation and held.get(shard) != lease.generation
        ]
        self._release(key, room, stopped)

    def _settle(self, key: tuple[str, str], room: _Room, view: View) -> None:
        """The silent are gone, their shards are free, and free shards are given to who is to have them."""
        now_ms = self._clock.now_ms()
        group = self._store.state.groups[key]
        silent = [name for name, member in room.members.items() if member.deadline_ms <= now_ms]
        for name in silent:
            del room.members[name]
        if silent:
            room.changed()
        shards = _readable(group, view)
        self._release(
            key,
            room,
            [shard for shard, lease in group.leases.items() if lease.member not in room.members or shard not in shards],
        )
        target = self._target(group, shards, room)
        for shard in shards:
            if shard in group.leases or shard not in target:
                continue
            member = target[shard]
            self._store.record(
                Leased(
                    stream=key[0],
                    group=key[1],
                    shard=shard,
                    member=member,
                    generation=group.generation + 1,
                    lease_ms=room.members[member].lease_ms,
                )
            )
            room.changed()

    def _mine(self, key: tuple[str, str], room: _Room, view: View, member: str) -> dict[int, Granted]:
        group = self._store.state.groups[key]
        shards = _readable(group, view)
        target = self._target(group, shards, room)
        return {
            shard: Granted(group.leases[shard].generation, group.positions.get(shard, 0), group.intents.get(shard))
            for shard in shards
            if shard in group.leases and group.leases[shard].member == target.get(shard) == member
        }

    @staticmethod
    def _target(group: Group, shards: Sequence[int], room: _Room) -> dict[int, str]:
        return balance(shards, {shard: lease.member for shard, lease in group.leases.items()}, room.members)

    def _release(self, key: tuple[str, str], room: _Room, shards: list[int]) -> None:
        if shards:
            self._store.record(Released(stream=key[0], group=key[1], shards=shards))
            room.changed()


def _finished(group: Group, shard: int, end: int | None) -> bool:
    return end is not None and group.positions.get(shard, 0) >= end


def _readable(group: Group, view: View) -> list[int]:
    """Shards that are not finished, and whose parents all are, or are gone."""
    shards = view.shards()
    unfinished = {shard.index for shard in shards if not _finished(group, shard.index, shard.end)}
    return [
        shard.index
        for shard in shards
        if shard.index in unfinished and not any(parent in unfinished for parent in shard.parents)
    ]
