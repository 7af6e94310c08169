"""A journal of which many processes each write their parts."""

from __future__ import annotations

import random

import pytest

from streams.control.divided import DividedJournal
from streams.control.journal import Journal, Replay
from streams.core.errors import JournalMoved
from streams.log.memory import MemoryLog
from tests.control.test_control_shared_journal import SharedLog

NAME = "control/x"


class Process:
    """One that knows the whole state, and writes its parts of it."""

    def __init__(self, log: SharedLog) -> None:
        self.journal = DividedJournal(log, NAME)
        self.state: list[bytes] = []
        self.epochs: dict[int, int] = {}

    def apply(self, replay: Replay) -> None:
        if replay.snapshot is not None:
            self.state = replay.snapshot.split()
        self.state += replay.events

    async def open(self) -> Process:
        self.apply(await self.journal.open())
        return self

    async def claim(self, *parts: int) -> None:
        epoch = await self.journal.claim(parts, self.apply)
        self.epochs |= dict.fromkeys(parts, epoch)

    async def write(self, part: int, *events: bytes) -> None:
        await self.journal.write(part, self.epochs[part], events, self.apply)

    async def current(self) -> list[bytes]:
        await self.journal.catch_up(self.apply)
        return self.state


@pytest.fixture
def log() -> SharedLog:
    return SharedLog()


async def test_each_writes_its_parts_and_all_read_all(log: SharedLog) -> None:
    one, other = await Process(log).open(), await Process(log).open()
    await one.claim(0, 1)
    await other.claim(2)
    await one.write(0, b"a", b"b")
    await other.write(2, b"c")
    await one.write(1, b"d")
    assert one.state == await other.current() == (await Process(log).open()).state == [b"a", b"b", b"c", b"d"]


async def test_what_is_written_after_another_has_claimed_the_part_is_nothing(log: SharedLog) -> None:
    one, other = await Process(log).open(), await Process(log).open()
    await one.claim(0, 1)
    await one.write(0, b"a")
    await other.claim(0)
    assert other.state == [b"a"], "whoever claims knows what was written before"
    with pytest.raises(JournalMoved, match="another process has taken part 0"):
        await one.write(0, b"late")
    await one.write(1, b"still mine")
    await other.write(0, b"b")
    assert await one.current() == other.state == (await Process(log).open()).state == [b"a", b"still mine", b"b"]
    await one.claim(0)
    await one.write(0, b"c")
    with pytest.raises(JournalMoved):
        await other.write(0, b"late")
    assert other.state == [b"a", b"still mine", b"b", b"c"]


async def test_claims_outlive_a_snapshot(log: SharedLog) -> None:
    one, other = await Process(log).open(), await Process(log).open()
    await one.claim(0)
    await one.write(0, b"a")
    await other.claim(0, 3)
    await one.current()
    await one.journal.snapshot(b" ".join(one.state))
    fresh = await Process(log).open()
    assert fresh.state == [b"a"]
    with pytest.raises(JournalMoved):
        await one.write(0, b"late")
    await other.write(3, b"b")
    assert await fresh.current() == (await Process(log).open()).state == [b"a", b"b"]


async def test_a_snapshot_of_what_is_no_longer_the_end_is_none(log: SharedLog) -> None:
    one, other = await Process(log).open(), await Process(log).open()
    await one.claim(0)
    await other.claim(1)
    await other.write(1, b"a")
    with pytest.raises(JournalMoved, match="went on while"):
        await one.journal.snapshot(b"")
    assert (await Process(log).open()).state == [b"a"]


async def test_who_was_behind_a_snapshot_begins_with_it(log: SharedLog) -> None:
    one, behind = await Process(log).open(), await Process(log).open()
    await one.claim(0)
    for number in range(5):
        await one.write(0, b"%d" % number)
    await one.journal.snapshot(b"all so far")
    await one.write(0, b"more")
    assert await behind.current() == [b"all", b"so", b"far", b"more"]
    await behind.claim(1)
    await behind.write(1, b"x")
    assert behind.state[-1] == b"x"


async def test_a_journal_that_one_owner_wrote_is_gone_on_with(log: SharedLog) -> None:
    owner = Journal(log, NAME)
    await owner.own()
    await owner.append([b"a", b"b"])
    process = await Process(log).open()
    assert process.state == [b"a", b"b"]
    await process.claim(0)
    await process.write(0, b"c")
    assert (await Process(log).open()).state == [b"a", b"b", b"c"]


async def test_many_processes_agree_whoever_writes_claims_and_shortens(log: SharedLog, seed: int) -> None:
    """Against what counts by definition: the event of the last to have claimed its part."""
    randomness = random.Random(seed)
    processes = [await Process(log).open() for _ in range(3)]
    owners: dict[int, Process] = {}
    expected: list[bytes] = []
    for number in range(300):
        process, part = randomness.choice(processes), randomness.randrange(4)
        match randomness.randrange(8):
            case 0:
                await process.claim(part)
                owners[part] = process
            case 1:
                await process.current()
                await process.journal.snapshot(b" ".join(process.state))
            case _ if part in process.epochs:
                event = b"%d" % number
                if owners[part] is process:
                    await process.write(part, event)
                    expected.append(event)
                else:
                    with pytest.raises(JournalMoved):
                        await process.write(part, event)
    for process in [*processes, await Process(log).open()]:
        assert await process.current() == expected


async def test_copied_into_a_folder_it_has_one_owner_again(log: SharedLog) -> None:
    process = await Process(log).open()
    await process.claim(0, 1)
    await process.write(0, b"a")
    await process.journal.snapshot(b"a")
    await process.write(1, b"b")
    folder = MemoryLog()
    await folder.create(NAME)
    first, next_ = await log.bounds(NAME)
    for offset in range(next_):  # as a copy has it: the same offsets, and nothing where there was nothing
        batch = await log.read(NAME, max(offset, first), 1)
        await folder.append(NAME, batch.records.slice(0, 1))
    await folder.trim(NAME, first)
    journal = DividedJournal(folder, NAME)
    replay = await journal.own()
    assert (replay.snapshot, replay.events) == (b"a", [b"b"])
    await journal.append([b"c"])
    replay = await DividedJournal(folder, NAME).own()
    assert (replay.snapshot, replay.events) == (b"a", [b"b", b"c"])
    await journal.snapshot(b"a b c")
    assert (await DividedJournal(folder, NAME).own()).snapshot == b"a b c"
