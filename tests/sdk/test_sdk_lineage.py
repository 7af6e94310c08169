"""Parents before children, as a machine."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from streams.core.shards import HashRange, Shard
from streams.sdk.lineage import Lineage

WHOLE = HashRange(0, 2**128 - 1)


def shard(name: str, *parents: str, end: int | None = None) -> Shard:
    return Shard(name, 0, name, WHOLE, 0, parents, end)


def test_children_wait_for_all_their_parents() -> None:
    lineage = Lineage({"a": 0, "b": 3})
    lineage.describe([shard("a", end=5), shard("b", end=9), shard("c", "a", "b")])
    assert lineage.reading == {"a": 0, "b": 3}
    lineage.end("a")
    assert lineage.reading == {"b": 3}
    lineage.advance("b", 9)
    lineage.end("b")
    assert lineage.reading == {"c": 0}


def test_a_parent_that_is_gone_or_finished_holds_nobody_back() -> None:
    lineage = Lineage({"b": 9, "c": 4})
    lineage.describe([shard("b", end=9), shard("c", "a", "b")])
    assert lineage.reading == {"c": 4}


def test_whoever_was_read_goes_to_the_end_of_the_line() -> None:
    lineage = Lineage({"a": 0, "b": 0, "c": 0})
    lineage.describe([shard("a"), shard("b"), shard("c")])
    lineage.advance("a", 7)
    assert list(lineage.reading.items()) == [("b", 0), ("c", 0), ("a", 7)]


def test_a_shard_that_is_no_longer_listed_is_forgotten() -> None:
    lineage = Lineage({"a": 0})
    lineage.describe([shard("a", end=5), shard("b", "a")])
    lineage.describe([shard("b", "a")])
    assert lineage.reading == {"b": 0}
    assert lineage.positions == {"b": 0}


def test_an_empty_shard_does_not_let_its_children_overtake_its_parents() -> None:
    lineage = Lineage({"a": 0})
    lineage.describe([shard("a", end=5), shard("b", "a", end=0), shard("c", "b")])
    assert lineage.reading == {"a": 0}
    lineage.end("a")
    assert lineage.reading == {"c": 0}


@given(st.integers(0, 2**32))
def test_any_resharding_is_read_whole_and_parents_first(seed: int) -> None:
    choose = random.Random(seed)
    shards = [shard(f"{i}", end=None) for i in range(3)]
    lineage = Lineage({each.id: 0 for each in shards})
    lineage.describe(shards)
    finished: list[str] = []
    for _ in range(60):
        open_now = [each for each in shards if each.open]
        if choose.random() < 0.3 and len(shards) < 40:
            merge = choose.random() < 0.5 and len(open_now) > 1
            parents = choose.sample(open_now, 2 if merge else 1)
            for parent in parents:
                shards[shards.index(parent)] = shard(parent.id, *parent.parents, end=choose.randint(1, 3))
            for _ in range(1 if merge else 2):
                shards.append(shard(f"{len(shards)}", *(parent.id for parent in parents)))
        if choose.random() < 0.5:
            lineage.describe(shards)
        known = {each.id: each for each in shards}
        for name in list(lineage.reading):
            assert set(known[name].parents) <= set(finished), f"{name} was begun before {known[name].parents}"
            if known[name].end is not None:
                lineage.advance(name, known[name].end or 0)
                lineage.end(name)
                finished.append(name)
    lineage.describe(shards)
    while closed := [each for each in shards if each.id in lineage.reading and not each.open]:
        lineage.end(closed[0].id)
    assert set(lineage.reading) == {each.id for each in shards if each.open}
