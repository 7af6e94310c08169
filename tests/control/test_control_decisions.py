"""Decisions are pure, and whatever they decide the hash key space stays covered."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.control import decisions, resharding
from streams.control.catalog import Catalog, Snapshot
from streams.control.decisions import NewStream
from streams.control.events import AnyEvent, decode_as, decode_event, encode
from streams.control.stream import HOUR_MS, Key, Stream, covers
from streams.core.errors import InvalidArgument, LimitExceeded, RequestError, ResourceInUse, ResourceNotFound
from streams.core.scope import Scope
from streams.core.shards import HASH_KEY_MAX

SCOPE = Scope()
KEY = Key(SCOPE.account, SCOPE.region, "s")
NOW = 1_700_000_000_000


def new(name: str = "s", shards: int | None = 2, scope: Scope = SCOPE) -> NewStream:
    return NewStream(scope=scope, name=name, id=f"{name:x<20}-abc", shards=shards)


class World:
    """A catalog, the journal that made it, and a clock."""

    def __init__(self, shards: int | None = 2) -> None:
        self.catalog = Catalog()
        self.journal: list[bytes] = []
        self.now_ms = NOW
        self.commit(decisions.create_stream(self.catalog, self.now_ms, new(shards=shards), 0, 100_000).events)

    def commit(self, events: tuple[AnyEvent, ...]) -> None:
        for event in events:
            self.journal.append(encode(event))
            self.catalog.apply(decode_event(self.journal[-1]))

    @property
    def stream(self) -> Stream:
        return self.catalog.streams[KEY]

    def ends(self) -> dict[int, int]:
        return {shard.index: 10 * shard.index for shard in self.stream.shards}

    def split(self, index: int, first_key: int) -> None:
        self.commit(
            resharding.split_shard(
                self.catalog, self.now_ms, KEY, index, first_key, self.ends(), update_ms=0, shards_max=100_000
            ).events
        )

    def merge(self, one: int, other: int) -> None:
        self.commit(resharding.merge_shards(self.catalog, self.now_ms, KEY, one, other, self.ends(), 0).events)

    def scale(self, target: int) -> None:
        decision = resharding.update_shard_count(self.catalog, self.now_ms, KEY, target, self.ends(), 0, 100_000)
        self.commit(decision.events)
        assert len(self.stream.open_shards()) == target


def state(catalog: Catalog) -> bytes:
    return encode(catalog.snapshot())


def step(world: World, dice: random.Random) -> None:
    """One change that makes sense, or time passing."""
    shards = world.stream.open_shards()
    place = dice.randrange(len(shards))
    shard = shards[place]
    match dice.randrange(5):
        case 0 if shard.hash_range.last - shard.hash_range.first > 2:
            world.split(shard.index, dice.randrange(shard.hash_range.first + 2, shard.hash_range.last))
        case 1 if place + 1 < len(shards):
            pair = [shard.index, shards[place + 1].index]
            dice.shuffle(pair)
            world.merge(*pair)
        case 2:
            world.scale(dice.randint((len(shards) + 1) // 2, 2 * len(shards)))
        case 3:
            world.commit(decisions.sweep(world.catalog, world.now_ms).events)
        case _:
            world.now_ms += dice.choice([-5_000, 0, 1, 999, 60_000, 13 * HOUR_MS])


@given(st.integers(1, 20), st.integers(0, 60), st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_open_shards_cover_the_key_space_and_replay_gives_the_live_state(
    shards: int, steps: int, dice: random.Random
) -> None:
    world = World(shards)
    for _ in range(steps):
        step(world, dice)
        assert covers(world.stream.open_shards())
    replayed = Catalog()
    replayed.apply_all(map(decode_event, world.journal))
    assert state(replayed) == state(world.catalog)
    restored = Catalog()
    restored.restore(decode_as(Snapshot, state(world.catalog)))
    assert state(restored) == state(world.catalog)
    assert [shard.index for shard in world.stream.shards] == sorted({s.index for s in world.stream.shards})


def test_a_shard_of_one_hash_key_does_not_stand_in_the_way_of_scaling() -> None:
    world = World(1)
    world.split(0, 2)
    while (first := world.stream.open_shards()[0]).hash_range.last > 0:
        world.scale(2 * len(world.stream.open_shards()))
    assert first.hash_range.first == first.hash_range.last == 0
    world.scale(2 * len(world.stream.open_shards()))
    assert covers(world.stream.open_shards())


@given(st.integers(0, 40), st.randoms(use_true_random=False))
def test_sequence_numbers_of_children_lie_above_those_of_their_parents(steps: int, dice: random.Random) -> None:
    world = World()
    for _ in range(steps):
        step(world, dice)
    made = {shard.index: shard for shard in world.stream.shards}
    for shard in made.values():
        for parent in (made[index] for index in shard.parents if index in made):
            assert shard.sequence_ms // 1000 > parent.sequence_ms // 1000
            assert parent.closed_ms is not None
            assert parent.created_ms <= parent.closed_ms == shard.created_ms


@given(st.integers(0, 30), st.randoms(use_true_random=False))
def test_decisions_change_nothing(steps: int, dice: random.Random) -> None:
    world = World()
    for _ in range(steps):
        step(world, dice)
    before = state(world.catalog)
    ends = world.ends()
    catalog, now_ms = world.catalog, world.now_ms
    for decide in (
        lambda: decisions.create_stream(catalog, now_ms, new("t"), 0, 1000),
        lambda: decisions.create_stream(catalog, now_ms, new(), 0, 1000),
        lambda: decisions.delete_stream(catalog, now_ms, KEY, 0),
        lambda: decisions.delete_stream(catalog, now_ms, KEY, 1000),
        lambda: resharding.split_shard(catalog, now_ms, KEY, 0, 12345, ends, 0, 1000),
        lambda: resharding.merge_shards(catalog, now_ms, KEY, 0, 1, ends, 0),
        lambda: decisions.sweep(catalog, now_ms + 100 * HOUR_MS),
    ):
        try:
            first, second = decide(), decide()
        except RequestError:
            pass
        else:
            assert first == second
        assert state(catalog) == before


def test_names_are_unique_in_an_account_and_a_region() -> None:
    world = World()
    with pytest.raises(ResourceInUse, match=r"^Stream s under account 000000000000 already exists\.$"):
        decisions.create_stream(world.catalog, NOW, new(), 0, 1000)
    for other in (Scope("111111111111", SCOPE.region), Scope(SCOPE.account, "eu-west-1")):
        assert decisions.create_stream(world.catalog, NOW, new(scope=other), 0, 1000).events


def test_a_deleted_stream_keeps_its_name_until_it_is_gone() -> None:
    world = World()
    world.commit(decisions.delete_stream(world.catalog, NOW, KEY, 1000).events)
    assert world.stream.status(NOW) == "DELETING"
    assert decisions.delete_stream(world.catalog, NOW, KEY, 1000).events == ()
    with pytest.raises(ResourceInUse):
        decisions.create_stream(world.catalog, NOW + 999, new(), 0, 1000)
    with pytest.raises(ResourceNotFound, match=r"^Stream s under account 000000000000 not found\.$"):
        decisions.find_stream(world.catalog, KEY, NOW + 1000)
    again = NewStream(scope=SCOPE, name="s", id="y" * 20 + "-abc", shards=1)
    world.commit(decisions.create_stream(world.catalog, NOW + 1000, again, 0, 1000).events)
    assert world.stream.id == again.id
    assert world.catalog.by_id(new().id) is None


def test_the_shard_limit_counts_open_shards_of_the_account_in_the_region() -> None:
    world = World(3)
    with pytest.raises(LimitExceeded) as caught:
        decisions.create_stream(world.catalog, NOW, new("t", 3), 0, 5)
    assert caught.value.message == (
        "This request would exceed the shard limit for the account 000000000000 in us-east-1. Current shard count for the"
        " account: 3. Limit: 5. Number of additional shards that would have resulted from this request: 3. Refer to the AWS"
        " Service Limits page (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for current limits and"
        " how to request higher limits."
    )
    assert decisions.create_stream(world.catalog, NOW, new("t", 2), 0, 5).events
    assert decisions.create_stream(world.catalog, NOW, new("t", 5, Scope("111111111111")), 0, 5).events


def test_on_demand_streams_start_with_four_shards() -> None:
    world = World(None)
    assert len(world.stream.open_shards()) == 4


def test_split_keys_must_leave_something_on_either_side() -> None:
    world = World(1)
    for key in (0, 1, HASH_KEY_MAX, HASH_KEY_MAX + 5):
        with pytest.raises(InvalidArgument) as caught:
            world.split(0, key)
        assert caught.value.message == (
            f"NewStartingHashKey {key} used in SplitShard() on shard shardId-000000000000 in stream s under account"
            " 000000000000 is not both greater than one plus the shard's StartingHashKey 0 and less than the shard's"
            f" EndingHashKey {HASH_KEY_MAX}."
        )
    world.split(0, 2)
    assert [shard.hash_range.first for shard in world.stream.open_shards()] == [0, 2]


def test_a_journal_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="control journal of version 02; this Headrace reads 01"):
        decode_event(b"\x02{}")
    with pytest.raises(ValueError, match="version none"):
        decode_event(b"")


@pytest.mark.parametrize(
    ("shards", "target", "in_all"),
    [(2, 4, 6), (4, 5, 15), (10, 13, 37), (4, 2, 6), (5, 3, 7), (10, 5, 15), (1, 1, 1), (1, 2, 3)],
)
def test_uniform_scaling_leaves_as_many_shards_as_at_aws(shards: int, target: int, in_all: int) -> None:
    world = World(shards)
    world.scale(target)
    assert len(world.stream.shards) == in_all
    assert covers(world.stream.open_shards())


@pytest.mark.parametrize(("target", "way"), [(9, "up over double"), (1, "down below half")])
def test_uniform_scaling_goes_up_to_double_and_down_to_half(target: int, way: str) -> None:
    with pytest.raises(InvalidArgument, match=f"UpdateShardCount cannot scale {way} your current open shard count"):
        World(4).scale(target)
