"""The delivery state against a naive model of it, also when it is written down and read back at any moment."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streams.queues import state as module
from streams.queues.events import (
    Died,
    Lost,
    Passed,
    Postponed,
    Received,
    Restored,
    Settled,
    decode_event,
    decode_snapshot,
    encode,
    runs_of,
)
from streams.queues.state import State


@dataclass
class Record:
    """One record in the model."""

    receives: int = 0
    first_ms: int = 0
    until_ms: int = 0
    dead: bool = False
    visible: bool = False


class Machine(RuleBasedStateMachine):
    """A queue of two shards with six records each: whatever happens, `State` and the model say the same."""

    @initialize(receives_max=strategies.sampled_from([None, 1, 2]), stale_max=strategies.sampled_from([0, 1024]))
    def begin(self, receives_max: int | None, stale_max: int) -> None:
        module.STALE_MAX = stale_max
        self.receives_max = receives_max
        self.now_ms = 1000
        self.state = State()
        self.fresh = {0: 0, 1: 0}
        self.out: dict[tuple[int, int], Record] = {}

    def teardown(self) -> None:
        module.STALE_MAX = 1024

    def apply(self, event: object) -> None:
        self.state.apply(decode_event(encode(event)))  # type: ignore[arg-type]

    def due(self) -> None:
        dying = self.state.due(self.now_ms, self.receives_max)
        model = sorted(
            place
            for place, one in self.out.items()
            if not one.visible
            and not one.dead
            and one.until_ms <= self.now_ms
            and self.receives_max is not None
            and one.receives >= self.receives_max
        )
        assert sorted((shard, offset) for shard, offset, _ in dying) == model
        if dying:
            self.apply(Died(runs_of(model)))
            assert self.state.due(self.now_ms, self.receives_max) == []
        for place, one in self.out.items():
            one.dead = one.dead or place in model
            one.visible = one.visible or one.until_ms <= self.now_ms

    @rule(count=strategies.integers(1, 4), dead=strategies.booleans(), for_ms=strategies.integers(0, 50))
    def receive(self, count: int, dead: bool, for_ms: int) -> None:
        self.due()
        taken = self.state.take(count, dead)
        visible = {place for place, one in self.out.items() if one.visible and one.dead == dead}
        assert len(taken) == min(count, len(visible))
        places = [(one.shard, one.offset) for one in taken]
        assert len(set(places)) == len(places)
        assert set(places) <= visible
        for shard in self.fresh if not dead else ():
            while len(places) < count and self.fresh[shard] < 6:
                places.append((shard, self.fresh[shard]))
                self.fresh[shard] += 1
        if not places:
            return
        self.apply(Received(runs_of(places), self.now_ms, self.now_ms + for_ms))
        for place in places:
            one = self.out.setdefault(place, Record(first_ms=self.now_ms))
            one.receives += 1
            one.until_ms, one.visible = self.now_ms + for_ms, False

    @rule(count=strategies.integers(1, 4), dead=strategies.booleans())
    def give_back(self, count: int, dead: bool) -> None:
        self.due()
        taken = self.state.take(count, dead)
        self.state.give_back(taken)
        assert self.state.take(count, dead) == taken
        self.state.give_back(taken)

    @precondition(lambda self: self.out)
    @rule(data=strategies.data())
    def settle(self, data: strategies.DataObject) -> None:
        places = data.draw(strategies.lists(strategies.sampled_from(sorted(self.out)), min_size=1, unique=True))
        self.apply(Settled(runs_of(places)))
        for place in places:
            del self.out[place]

    @precondition(lambda self: self.out)
    @rule(data=strategies.data(), for_ms=strategies.integers(0, 50))
    def postpone(self, data: strategies.DataObject, for_ms: int) -> None:
        place = data.draw(strategies.sampled_from(sorted(self.out)))
        self.apply(Postponed([(*place, 1)], self.now_ms + for_ms))
        self.out[place].until_ms, self.out[place].visible = self.now_ms + for_ms, False

    @precondition(lambda self: any(one.dead for one in self.out.values()))
    @rule(data=strategies.data())
    def restore(self, data: strategies.DataObject) -> None:
        dead = sorted(place for place, one in self.out.items() if one.dead)
        place = data.draw(strategies.sampled_from(dead))
        self.apply(Restored([(*place, 1)], self.now_ms))
        one = self.out[place]
        one.receives, one.dead, one.until_ms, one.visible = 0, False, self.now_ms, False

    @rule(shard=strategies.integers(0, 1), count=strategies.integers(1, 2))
    def age_out(self, shard: int, count: int) -> None:
        first = self.fresh[shard]
        self.fresh[shard] = min(6, first + count)
        self.apply(Passed([(shard, first, self.fresh[shard] - first)]))

    @rule(shard=strategies.integers(0, 1), count=strategies.integers(1, 2))
    def lose(self, shard: int, count: int) -> None:
        first = max(0, self.fresh[shard] - count)
        self.apply(Lost([(shard, first, self.fresh[shard] - first)]))
        self.fresh[shard] = first
        self.out = {place: one for place, one in self.out.items() if place[0] != shard or place[1] < first}

    @rule(ms=strategies.integers(1, 40))
    def wait(self, ms: int) -> None:
        self.now_ms += ms

    @rule()
    def restart(self) -> None:
        """What was visible before is found to be due again."""
        snapshot = encode(self.state.snapshot())
        self.state = State.restored(decode_snapshot(snapshot))
        assert encode(self.state.snapshot()) == snapshot
        for one in self.out.values():
            one.visible = False

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "state"):
            return
        there = {
            (shard, offset): one for shard, by_offset in self.state.out.items() for offset, one in by_offset.items()
        }
        assert there.keys() == self.out.keys()
        assert self.state.count == len(there)
        for place, one in self.out.items():
            found = there[place]
            assert (found.receives, found.first_ms, found.until_ms, found.dead) == (
                one.receives,
                one.first_ms,
                one.until_ms,
                one.dead,
            )
        assert {shard: self.state.cursor(shard) for shard in self.fresh} == self.fresh
        flying = [one.until_ms for one in self.out.values() if not one.visible]
        due_ms = self.state.next_due_ms()
        assert due_ms is None if not flying else due_ms is not None and due_ms <= min(flying)


Machine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestState = Machine.TestCase


def test_numbers_tell_every_delivery_of_a_record_apart() -> None:
    state = State()
    numbers = []
    for at_ms in range(0, 50, 10):
        state.apply(Received([(0, 0, 1)], at_ms, at_ms))
        numbers.append(state.find(0, 0))
        if at_ms == 20:
            state.due(at_ms, 3)
            state.apply(Died([(0, 0, 1)]))
        if at_ms == 30:
            state.apply(Restored([(0, 0, 1)], at_ms))
    found = [one.number for one in numbers if one is not None]
    assert len(found) == 5
    assert found == sorted(set(found))


def test_a_snapshot_is_as_large_as_the_work_under_way_and_not_as_the_stream() -> None:
    state = State()
    for first in range(0, 100_000, 10):
        state.apply(Received([(0, first, 10)], first, first + 30_000))
        if first % 1000 != 0:
            state.apply(Settled([(0, first, 10)]))
    assert state.count == 1000
    assert len(encode(state.snapshot())) < 100 * 32
    # What is in flight but settled does not stay until its time.
    assert state.due(0, None) == []
    assert len(state._flying) < 2 * state.count + module.STALE_MAX + 1


@pytest.mark.parametrize("data", [b"", b"\x02\x90", b"\x01\x91\xa1z", b"\x01nonsense"], ids=repr)
def test_a_journal_of_another_version_or_of_unknown_events_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_event(data)
