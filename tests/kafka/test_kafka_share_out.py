"""Who gets which part of the work, as a leader of the group shares it out."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from streams.core.work import PARTS
from streams.kafka.membership import Member, share_out

NAMES = ("a", "b", "c", "d", "e")


class Group:
    """Members who do as they are told: they end what they are not given, and join again."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.rounds = 0

    def settle(self) -> None:
        """Until nothing more goes over. Nobody ever begins what another one that lives has."""
        for _ in range(3):
            given, told = share_out(self.members)
            self.rounds += 1
            for name, parts in given.items():
                for other, member in self.members.items():
                    assert other == name or not set(parts) & set(member.held), "it is still another one's"
            assert [
                next((self.members[name].address for name, parts in given.items() if part in parts), "")
                for part in range(PARTS)
            ] == list(told.owners)
            before = self.members
            self.members = {
                name: Member(member.address, tuple(sorted(given[name])), told.round, member.works)
                for name, member in before.items()
            }
            if all(set(before[name].held) == set(given[name]) for name in given):
                return
        raise AssertionError("it does not come to rest")

    def check(self) -> None:
        counts = Counter({name: len(member.held) for name, member in self.members.items() if member.works})
        if counts:
            assert sum(counts.values()) == PARTS
            assert max(counts.values()) - min(counts.values()) <= 1
        assert all(not member.held for member in self.members.values() if not member.works)


@given(
    changes=st.lists(st.tuples(st.sampled_from(NAMES), st.booleans(), st.booleans()), max_size=30),
)
def test_parts_are_shared_evenly_and_nobody_takes_what_another_has(changes: list[tuple[str, bool, bool]]) -> None:
    group = Group()
    for name, comes, works in changes:
        if comes and name not in group.members:
            group.members[name] = Member(f"http://{name}", works=works)
        elif not comes:
            group.members.pop(name, None)
        if group.members:
            group.settle()
            group.check()


def test_few_parts_go_over() -> None:
    group = Group()
    for name in NAMES[:4]:
        group.members[name] = Member(f"http://{name}")
        group.settle()
    before = {part: name for name, member in group.members.items() for part in member.held}
    del group.members["b"]
    group.settle()
    after = {part: name for name, member in group.members.items() for part in member.held}
    assert {part for part in before if before[part] != after[part]} == {p for p in before if before[p] == "b"}


def test_one_that_was_away_does_not_get_back_what_others_have_taken_since(seed: int) -> None:
    randomness = random.Random(seed)
    held = tuple(sorted(randomness.sample(range(PARTS), 20)))
    rest = tuple(part for part in range(PARTS) if part not in held)
    given_, _ = share_out({"away": Member("http://away", held, 3), "here": Member("http://here", held + rest, 5)})
    assert given_["away"] == [], "it is told of nothing before the other one has given something up"
    assert set(given_["here"]) < set(range(PARTS))
