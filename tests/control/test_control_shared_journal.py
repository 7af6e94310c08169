"""A journal in a log that processes share: proposals, additions, owners."""

from __future__ import annotations

import pytest

from streams.control.journal import Journal, Replay
from streams.core.errors import JournalMoved
from streams.log.memory import MemoryLog

NAME = "control/x"


class SharedLog(MemoryLog):
    shared = True


@pytest.fixture
def log() -> SharedLog:
    return SharedLog()


class Follower:
    """What a journal has told."""

    def __init__(self, log: SharedLog) -> None:
        self.journal = Journal(log, NAME)
        self.state: list[bytes] = []

    def apply(self, replay: Replay) -> None:
        if replay.snapshot is not None:
            self.state = replay.snapshot.split()
        self.state += replay.events

    async def open(self) -> Follower:
        self.apply(await self.journal.open())
        return self

    async def current(self) -> list[bytes]:
        await self.journal.catch_up(self.apply)
        return self.state


async def replayed(log: SharedLog) -> list[bytes]:
    return (await Follower(log).open()).state


async def test_of_two_that_expect_the_same_offset_the_first_counts(log: SharedLog) -> None:
    one, other = await Follower(log).open(), await Follower(log).open()
    assert await one.journal.propose([b"a", b"b"], 0)
    assert not await other.journal.propose([b"c", b"d"], 0)
    assert await one.current() == await other.current() == [b"a", b"b"]
    assert await other.journal.propose([b"e"], other.journal.position)
    assert await one.current() == await other.current() == await replayed(log) == [b"a", b"b", b"e"]


async def test_what_is_added_counts_wherever_it_lies(log: SharedLog) -> None:
    one, other = await Follower(log).open(), await Follower(log).open()
    await one.journal.add([b"a"])
    await other.journal.add([b"b"])
    assert not await one.journal.propose([b"c"], 0)
    assert await one.current() == await other.current() == await replayed(log) == [b"a", b"b"]


async def test_a_snapshot_of_a_state_that_has_changed_is_none(log: SharedLog) -> None:
    one, other = await Follower(log).open(), await Follower(log).open()
    await one.journal.add([b"a"])
    await one.current()
    await other.journal.add([b"b"])
    with pytest.raises(JournalMoved):
        await one.journal.snapshot(b"a")
    assert await replayed(log) == await one.current() == [b"a", b"b"]
    await one.journal.snapshot(b"a b")
    assert (await log.bounds(NAME))[0] > 0
    assert one.journal.events_since_snapshot == 0
    await one.journal.add([b"c"])
    assert await other.current() == await one.current() == await replayed(log) == [b"a", b"b", b"c"]


async def test_an_owner_writes_until_there_is_another(log: SharedLog) -> None:
    one, other = Journal(log, NAME), Journal(log, NAME)
    assert await one.own() == Replay(None, [])
    await one.append([b"a"])
    assert (await other.own()).events == [b"a"]
    for write in (one.append([b"b"]), one.snapshot(b"b"), one.append([b"c"])):
        with pytest.raises(JournalMoved, match="another process has written to the journal control/x"):
            await write
    await other.append([b"d"])
    assert await replayed(log) == [b"a", b"d"]
    await other.snapshot(b"a d")
    await other.append([b"e"])
    assert await replayed(log) == [b"a", b"d", b"e"]


async def test_one_that_owns_again_goes_on(log: SharedLog) -> None:
    for number in range(3):
        journal = Journal(log, NAME)
        assert (await journal.own()).events == [b"%d" % before for before in range(number)]
        await journal.append([b"%d" % number])
