"""The delivery state of one queue. Built from events; `apply` is the only mutator. It knows no clock and no log.

    shard    |  settled, but for what is out  |  not delivered yet  …
             0                            cursor

A record is *out* from when it is first received until it is settled: in flight, visible again, or a dead letter. One that
is out costs memory and a record below the cursor that is not out costs nothing, so the state is as large as the work that
is under way and not as the stream.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterator
from functools import singledispatchmethod
from typing import NamedTuple

from streams.queues.events import (
    AnyEvent,
    Died,
    Lost,
    OutRun,
    Passed,
    Postponed,
    Received,
    Restored,
    Run,
    Settled,
    ShardSnapshot,
    Snapshot,
)

STALE_MAX = 1024
"""Entries for records that have moved on, kept beside as many as there are records that are out."""


class Delivery:
    """How records that were received together stand: a value, shared by them and replaced when one is received again.

    receives  how often, since the last restore
    number    how often in all: what tells the receipt handles of a record apart
    first_ms  when first; until_ms  when visible again
    dead      whether they are dead letters
    """

    __slots__ = ("dead", "first_ms", "number", "receives", "until_ms")

    def __init__(self, receives: int, number: int, first_ms: int, until_ms: int, dead: bool) -> None:
        self.receives = receives
        self.number = number
        self.first_ms = first_ms
        self.until_ms = until_ms
        self.dead = dead

    def alike(self, other: Delivery) -> bool:
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def received(self, at_ms: int, until_ms: int) -> Delivery:
        return Delivery(self.receives + 1, self.number + 1, self.first_ms or at_ms, until_ms, self.dead)


class Out(NamedTuple):
    """One record that is out. It is stale where the state has another delivery of it, or none."""

    shard: int
    offset: int
    delivery: Delivery


class State:
    def __init__(self, starts: dict[int, int] | None = None) -> None:
        """`starts` are the first offsets to deliver, by shard; 0 where a shard is not in it."""
        self.cursors = dict(starts or {})
        self.out: dict[int, dict[int, Delivery]] = {}
        """By shard and offset."""
        self.count = 0
        """Records that are out."""
        self._flying: list[tuple[int, int, Run, Delivery]] = []
        self._turn = itertools.count()
        self._visible: dict[bool, deque[Out]] = {False: deque(), True: deque()}

    def cursor(self, shard: int) -> int:
        return self.cursors.get(shard, 0)

    def find(self, shard: int, offset: int) -> Delivery | None:
        """None where the record is not out."""
        return self.out.get(shard, {}).get(offset)

    def due(self, now_ms: int, receives_max: int | None) -> list[Run]:
        """Records whose time in flight is over become visible. Those that were received `receives_max` times are to
        become dead letters instead: they are answered, and are neither until `Died` is applied."""
        self._tidy()
        dying: list[Run] = []
        while self._flying and self._flying[0][0] <= now_ms:
            _, _, (shard, first, count), delivery = heapq.heappop(self._flying)
            there = self.out.get(shard, {})
            dies = not delivery.dead and receives_max is not None and delivery.receives >= receives_max
            visible = self._visible[delivery.dead]
            for offset in range(first, first + count):
                if there.get(offset) is delivery:
                    if dies:
                        dying.append((shard, offset, 1))
                    else:
                        visible.append(Out(shard, offset, delivery))
        return dying

    def next_due_ms(self) -> int | None:
        """When the next record becomes visible; None where nothing is in flight."""
        while self._flying and not self._flies(self._flying[0]):
            heapq.heappop(self._flying)
        return self._flying[0][0] if self._flying else None

    def take(self, count: int, dead: bool) -> list[Out]:
        """Up to `count` visible records, first come first; whoever takes them applies `Received`, or gives them back."""
        taken: list[Out] = []
        visible = self._visible[dead]
        while visible and len(taken) < count:
            one = visible.popleft()
            if self.find(one.shard, one.offset) is one.delivery:
                taken.append(one)
        return taken

    def give_back(self, taken: list[Out]) -> None:
        for one in reversed(taken):
            self._visible[one.delivery.dead].appendleft(one)

    @singledispatchmethod
    def apply(self, event: AnyEvent) -> None:
        """What `event` says is so."""
        raise AssertionError(f"nobody applies {type(event).__name__}")

    @apply.register
    def _(self, event: Received) -> None:
        for shard, first, count in event.runs:
            there = self.out.setdefault(shard, {})
            fresh = Delivery(1, 1, event.at_ms, event.until_ms, False)
            cursor = self.cursor(shard)
            for offset in range(first, first + count):
                old = there.get(offset)
                if old is not None:
                    self._put(shard, offset, old.received(event.at_ms, event.until_ms))
                elif offset >= cursor:
                    there[offset] = fresh
                    self.count += 1
            if first + count > cursor:
                self.cursors[shard] = first + count
                self._fly((shard, first, count), fresh)

    @apply.register
    def _(self, event: Settled) -> None:
        for shard, first, count in event.runs:
            there = self.out.get(shard, {})
            for offset in range(first, first + count):
                if there.pop(offset, None) is not None:
                    self.count -= 1
            if not there:
                self.out.pop(shard, None)

    @apply.register
    def _(self, event: Postponed) -> None:
        for one in self._each(event.runs):
            old = one.delivery
            self._put(
                one.shard,
                one.offset,
                Delivery(old.receives, old.number, old.first_ms, event.until_ms, old.dead),
            )

    @apply.register
    def _(self, event: Died) -> None:
        for one in self._each(event.runs):
            old = one.delivery
            # Visible at once; what was given out before it died is void.
            delivery = Delivery(old.receives, old.number + 1, old.first_ms, old.until_ms, True)
            self._put(one.shard, one.offset, delivery)

    @apply.register
    def _(self, event: Restored) -> None:
        for one in self._each(event.runs):
            old = one.delivery
            self._put(one.shard, one.offset, Delivery(0, old.number + 1, old.first_ms, event.at_ms, False))

    @apply.register
    def _(self, event: Passed) -> None:
        for shard, first, count in event.runs:
            self.cursors[shard] = max(self.cursor(shard), first + count)

    @apply.register
    def _(self, event: Lost) -> None:
        self.apply(Settled(event.runs))
        for shard, first, _ in event.runs:
            self.cursors[shard] = min(self.cursor(shard), first)

    def snapshot(self) -> Snapshot:
        shards = []
        for shard in sorted({*self.cursors, *self.out}):
            runs: list[OutRun] = []
            last: Delivery | None = None
            for offset, one in sorted(self.out.get(shard, {}).items()):
                if last is not None and runs[-1].first + runs[-1].count == offset and last.alike(one):
                    runs[-1] = OutRun(runs[-1].first, runs[-1].count + 1, *_fields(one))
                else:
                    runs.append(OutRun(offset, 1, *_fields(one)))
                last = one
            shards.append(ShardSnapshot(shard, self.cursor(shard), runs))
        return Snapshot(shards)

    @classmethod
    def restored(cls, snapshot: Snapshot) -> State:
        state = cls({one.shard: one.cursor for one in snapshot.shards})
        for shard in snapshot.shards:
            for run in shard.out:
                delivery = Delivery(run.receives, run.number, run.first_ms, run.until_ms, run.dead)
                offsets = range(run.first, run.first + run.count)
                state.out.setdefault(shard.shard, {}).update(dict.fromkeys(offsets, delivery))
                state.count += run.count
                state._fly((shard.shard, run.first, run.count), delivery)
        return state

    def _each(self, runs: list[Run]) -> Iterator[Out]:
        """Those of the runs' records that are out."""
        for shard, first, count in runs:
            for offset in range(first, first + count):
                delivery = self.find(shard, offset)
                if delivery is not None:
                    yield Out(shard, offset, delivery)

    def _put(self, shard: int, offset: int, delivery: Delivery) -> None:
        self.out[shard][offset] = delivery
        self._fly((shard, offset, 1), delivery)

    def _tidy(self) -> None:
        """What is stale goes before its time once it is most of what is kept: a record acknowledged in a second may have
        been in flight for hours."""
        enough = 2 * self.count + STALE_MAX
        if len(self._flying) > enough:
            self._flying = [entry for entry in self._flying if self._flies(entry)]
            heapq.heapify(self._flying)
        for dead, visible in self._visible.items():
            if len(visible) > enough:
                self._visible[dead] = deque(
                    one for one in dict.fromkeys(visible) if self.find(one.shard, one.offset) is one.delivery
                )

    def _flies(self, entry: tuple[int, int, Run, Delivery]) -> bool:
        """Whether any of its records is still as it was."""
        _, _, (shard, first, count), delivery = entry
        there = self.out.get(shard, {})
        return any(there.get(offset) is delivery for offset in range(first, first + count))

    def _fly(self, run: Run, delivery: Delivery) -> None:
        heapq.heappush(self._flying, (delivery.until_ms, next(self._turn), run, delivery))


def _fields(delivery: Delivery) -> tuple[int, int, int, int, bool]:
    return delivery.receives, delivery.number, delivery.first_ms, delivery.until_ms, delivery.dead
