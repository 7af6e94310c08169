"""Consumer groups: shards shared among members that come, go, die and come back, through splits and merges."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import LATEST, TRIM_HORIZON, GroupConsumer, Records
from streams.core.balance import balance
from streams.core.errors import HeadraceError, InvalidArgument, ResourceInUse, ResourceNotFound
from streams.core.exchange import Progress

LEASE_S = 10


def shard(index: int) -> str:
    return f"shardId-{index:012d}"


async def sync(kinesis: Any, member: str, held: Any = (), group: str = "g", **options: Any) -> dict[str, Any]:
    held = {name: lease.generation for name, lease in dict(held).items()}
    return await kinesis.client.sync_group("s", group, member, held, lease_ms=LEASE_S * 1000, **options)


async def save(kinesis: Any, member: str, name: str, lease: Any, position: int, intent: int | None = None) -> None:
    await kinesis.client.save_group("s", "g", member, {name: Progress(lease.generation, position, intent)})


@pytest.fixture
async def stream(kinesis: Any) -> Any:
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=4)
    return kinesis


@given(
    shards=st.lists(st.integers(0, 30), unique=True),
    members=st.sets(st.sampled_from("abcdefg")),
    owners=st.dictionaries(st.integers(0, 30), st.sampled_from("abcdefgxyz")),
)
def test_balance_is_fair_and_moves_little(shards: list[int], members: set[str], owners: dict[int, str]) -> None:
    target = balance(shards, owners, members)
    if not members:
        assert target == {}
        return
    assert target.keys() == set(shards)
    counts = Counter(dict.fromkeys(members, 0)) + Counter(target.values())
    loads = [counts[name] for name in members]
    assert max(loads) - min(loads) <= 1
    # Nothing that could stay moves: whoever lost a shard is as full as it may be.
    for one in shards:
        owner = owners.get(one)
        if owner in members and target[one] != owner:
            assert counts[owner] >= len(shards) // len(members)
    assert balance(shards, target, members) == target


async def test_members_share_hand_over_and_are_replaced(stream: Any) -> None:
    a = await sync(stream, "a")
    assert set(a) == {shard(index) for index in range(4)}
    assert {lease.position for lease in a.values()} == {0}
    b = await sync(stream, "b")
    assert b == {}, "a has not given anything up yet"
    kept = await sync(stream, "a", a)
    assert len(kept) == 2
    given = set(a) - set(kept)
    assert await sync(stream, "b") == {}
    for name in sorted(given):
        await save(stream, "a", name, a[name], 0)
    assert await sync(stream, "a", kept) == kept
    b = await sync(stream, "b")
    assert set(b) == given
    for name in given:
        with pytest.raises(ResourceInUse, match=f"Member a of consumer group g has lost shard {int(name[-2:])}"):
            await save(stream, "a", name, a[name], 0)
    (described,) = await stream.client.describe_groups("s")
    assert described.members == ("a", "b")
    assert {one.id: one.member for one in described.shards} == dict.fromkeys(kept, "a") | dict.fromkeys(b, "b")
    # b dies: it is silent for its lease, and not earlier.
    stream.clock.advance(LEASE_S - 1)
    assert set(await sync(stream, "a", kept)) == set(kept)
    stream.clock.advance(1)
    everything = await sync(stream, "a", kept)
    assert set(everything) == set(a)
    assert all(everything[name].generation > b[name].generation for name in b)
    await stream.client.leave_group("s", "g", "a")
    assert set(await sync(stream, "c")) == set(a)


async def test_a_wait_ends_when_something_is_to_change(stream: Any) -> None:
    a = await sync(stream, "a")
    waiting = asyncio.create_task(sync(stream, "a", a, wait_ms=60_000))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    b = asyncio.create_task(sync(stream, "b", wait_ms=60_000))
    kept = await waiting
    assert len(kept) == 2
    assert not b.done()
    assert await sync(stream, "a", kept) == kept
    assert set(await b) == set(a) - set(kept)
    idle = asyncio.create_task(sync(stream, "a", kept, wait_ms=60_000))
    await asyncio.sleep(0.02)
    stream.clock.advance(LEASE_S / 3)
    assert await idle == kept, "it is asked to be heard of thrice in a lease"


async def test_leases_positions_and_intents_outlive_a_restart(stream: Any) -> None:
    await stream.put(*(f"k{number}" for number in range(40)))
    a = await sync(stream, "a")
    await save(stream, "a", shard(0), a[shard(0)], 2, 5)
    await stream.restart()
    assert await sync(stream, "b") == {}
    again = await sync(stream, "a", a)
    assert {name: lease.generation for name, lease in again.items()}.items() <= {
        name: lease.generation for name, lease in a.items()
    }.items()
    assert len(again) == 2
    stream.clock.advance(LEASE_S)
    everything = await sync(stream, "c")
    assert (everything[shard(0)].position, everything[shard(0)].intent) == (2, 5)
    await save(stream, "c", shard(0), everything[shard(0)], 5)
    assert (await sync(stream, "c", everything))[shard(0)].intent is None


async def test_children_wait_for_their_parents_and_finished_shards_go(kinesis: Any) -> None:
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    await kinesis.put("a", "b")
    first = await sync(kinesis, "a")
    waiting = asyncio.create_task(sync(kinesis, "a", first, wait_ms=60_000))
    await kinesis.ask("SplitShard", StreamName="s", ShardToSplit="0", NewStartingHashKey=str(1 << 127))
    await kinesis.put("c", "d", "e")
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await save(kinesis, "a", shard(0), first[shard(0)], 2)
    children = await waiting
    assert set(children) == {shard(1), shard(2)}
    assert {lease.position for lease in children.values()} == {0}


async def test_a_new_group_begins_where_it_is_told(stream: Any) -> None:
    await stream.put(*(f"k{number}" for number in range(20)))
    late = await sync(stream, "a", group="late", start=LATEST)
    early = await sync(stream, "a", group="early", start=TRIM_HORIZON)
    assert sum(lease.position for lease in late.values()) == 20
    assert sum(lease.position for lease in early.values()) == 0
    await stream.client.forget_group("s", "late")
    assert [group.name for group in await stream.client.describe_groups("s")] == ["early"]
    with pytest.raises(ResourceNotFound, match="group late of stream s not found"):
        await stream.client.forget_group("s", "late")


async def test_what_is_no_question_is_refused(stream: Any) -> None:
    for change in (
        stream.client.sync_group("s", "", "a", {}, lease_ms=10_000),
        stream.client.sync_group("s", "g", "", {}, lease_ms=10_000),
        stream.client.sync_group("s", "g", "a", {"x": 1}, lease_ms=10_000),
        stream.client.sync_group("s", "g", "a", {}, lease_ms=999),
        stream.client.save_group("s", "g", "a", {shard(0): Progress(1, -1)}),
        stream.client.save_group("s", "g", "a", {shard(0): Progress(1, 5, 4)}),
    ):
        with pytest.raises(InvalidArgument):
            await change
    for change in (
        stream.client.sync_group("t", "g", "a", {}, lease_ms=10_000),
        stream.client.save_group("s", "none", "a", {shard(0): Progress(1, 1)}),
    ):
        with pytest.raises(ResourceNotFound):
            await change


async def test_a_group_goes_with_its_stream(stream: Any) -> None:
    a = await sync(stream, "a")
    waiting = asyncio.create_task(sync(stream, "a", a, wait_ms=60_000))
    await asyncio.sleep(0.02)
    await stream.ask("DeleteStream", StreamName="s")
    with pytest.raises(ResourceNotFound):
        await waiting
    await stream.ask("CreateStream", StreamName="s", ShardCount=1)
    assert await stream.client.describe_groups("s") == []


# The consumer ---------------------------------------------------------------------------------------------------------


def consumer(kinesis: Any, member: str, **options: Any) -> GroupConsumer:
    options = {"group": "g", "lease_s": LEASE_S} | options
    return GroupConsumer(kinesis.client, "s", member=member, clock=kinesis.clock, **options)


async def test_members_get_every_record_once_between_them(stream: Any) -> None:
    put = [f"k{number}" for number in range(400)]
    found: dict[str, list[str]] = defaultdict(list)

    async def read(member: str) -> None:
        async with consumer(stream, member) as group:
            async for batch in group:
                found[member] += batch.records.partition_key.to_pylist()
                if sum(map(len, found.values())) >= len(put):
                    return

    readers = [asyncio.create_task(read(member)) for member in "abc"]
    for first in range(0, len(put), 40):
        await stream.put(*put[first : first + 40])
        await asyncio.sleep(0.01)
    await asyncio.wait_for(asyncio.wait(readers, return_when=asyncio.FIRST_COMPLETED), 60)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    assert sorted(key for keys in found.values() for key in keys) == sorted(put)
    assert len(found) == 3, "everybody had something to do"


async def test_what_was_not_done_is_handed_out_again(stream: Any) -> None:
    await stream.put("a", "b", "c", "d")
    seen: list[str] = []
    crashed = consumer(stream, "a")
    async for batch in crashed:
        seen += batch.records.partition_key.to_pylist()
        if len(seen) >= 2:
            break
    lost = batch.records.partition_key.to_pylist()
    for task in crashed._tasks:
        task.cancel()  # as if the process were gone
    stream.clock.advance(LEASE_S)
    async with consumer(stream, "b") as group:
        again: list[str] = []
        async for batch in group:
            again += batch.records.partition_key.to_pylist()
            if len(again) >= 4 - len(seen) + len(lost):
                break
    assert sorted(again) == sorted({"a", "b", "c", "d"} - set(seen) | set(lost))


async def test_behind_a_batch_that_was_begun_comes_the_rest_of_a_shard_that_has_ended(kinesis: Any) -> None:
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    await kinesis.put("a", "b", "c", "d", "e")
    begun = await sync(kinesis, "a")
    await save(kinesis, "a", shard(0), begun[shard(0)], 0, intent=3)
    await kinesis.client.leave_group("s", "g", "a")
    await kinesis.ask("SplitShard", StreamName="s", ShardToSplit="0", NewStartingHashKey=str(1 << 127))
    async with consumer(kinesis, "b") as group:
        batches = [await asyncio.wait_for(anext(group), 30) for _ in range(2)]
    assert [batch.records.partition_key.to_pylist() for batch in batches] == [["a", "b", "c"], ["d", "e"]]


async def test_a_member_that_was_silent_too_long_loses_its_batch_and_goes_on(stream: Any) -> None:
    await stream.put("a")
    slow = consumer(stream, "slow")
    batch = await anext(slow)
    for task in slow._tasks:
        task.cancel()
    stream.clock.advance(LEASE_S)
    async with consumer(stream, "other") as other:
        assert (await anext(other)).records.partition_key.to_pylist() == ["a"]
        with pytest.raises(ResourceInUse, match="lost"):
            await slow.commit()
        await other.commit()
    assert len(batch) == 1


async def test_puts_are_there_once_whatever_is_repeated(kinesis: Any, seed: int) -> None:
    """Members die at random moments, between any two steps; their batches are of any size."""
    dice = random.Random(seed)
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=3)
    await kinesis.ask("CreateStream", StreamName="out", ShardCount=2)
    put = [f"k{number:03d}" for number in range(300)]
    for first in range(0, len(put), 50):
        await kinesis.put(*put[first : first + 50])

    async def work(member: str) -> None:
        group = consumer(kinesis, member, size_max=dice.choice([50, 200, 1000]))
        try:
            async for batch in group:
                keys = batch.records.partition_key.to_pylist()
                half = len(keys) // 2
                for part in (keys[:half], keys[half:]):
                    if part:
                        await group.put("out", Records.of(part, [key.encode() for key in part]))
        finally:
            if dice.random() < 0.5:
                await group.close()
            else:  # the process is gone, and says nothing
                for task in group._tasks:
                    task.cancel()

    async def finished() -> bool:
        described = await kinesis.client.describe_groups("s")
        return bool(described) and all(one.position >= one.tip for one in described[0].shards)

    for number in range(200):
        worker = asyncio.create_task(work(f"m{number}"))
        for _ in range(dice.randrange(1, 60)):
            await asyncio.sleep(0)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        if dice.random() < 0.4:
            kinesis.clock.advance(LEASE_S)
        if dice.random() < 0.1:
            await kinesis.restart()
        if number and await finished():
            break
    worker = asyncio.create_task(work("last"))
    for _ in range(2000):
        await asyncio.sleep(0.005)
        if await finished():
            break
        if dice.random() < 0.05:
            kinesis.clock.advance(1)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    written: list[str] = []
    for name in (shard(0), shard(1)):
        for batch in (await kinesis.client.fetch("out", {name: 0})).batches:
            written += [data.decode() for data in batch.records.data.to_pylist()]
    assert sorted(written) == put


async def test_an_error_of_the_server_is_raised_to_who_iterates(stream: Any) -> None:
    async with consumer(stream, "a") as group:
        waiting = asyncio.create_task(anext(group))
        await asyncio.sleep(0.02)
        await stream.ask("DeleteStream", StreamName="s")
        with pytest.raises(HeadraceError):
            await waiting
