"""Notebooks: what one process writes and all may read."""

from __future__ import annotations

import pytest

from streams.control.notebook import APPEND_SIZE, CHUNK_SIZE, Notebook, encode, open_notebooks
from streams.core.records import Records
from streams.log.memory import MemoryLog
from tests.control.test_control_shared_journal import SharedLog

NAME = "7/main"


@pytest.fixture
def log() -> SharedLog:
    return SharedLog()


async def texts(notebook: Notebook) -> list[bytes]:
    return [one.text async for part in notebook.read() for one in part]


async def test_lines_come_back_whole_wherever_they_are_read_from(log: SharedLog) -> None:
    one, other = Notebook(log, NAME), Notebook(log, NAME)
    assert await texts(other) == [], "there is none yet"
    await one.claim()
    lines = [b"a", b"", b"x" * CHUNK_SIZE, b"y" * (APPEND_SIZE + CHUNK_SIZE + 1), b"z"]
    await one.write(lines)
    assert await texts(other) == lines
    places = [noted.offset async for part in other.read() for noted in part]
    assert [await other.at(place) for place in places] == lines
    for place in (0, places[3] + 1, places[-1] + 1, 10_000):
        with pytest.raises(ValueError, match="no line begins there"):
            await other.at(place)


async def test_who_was_away_writes_nothing(log: SharedLog) -> None:
    one, other = Notebook(log, NAME), Notebook(log, NAME)
    await one.claim()
    await one.write([b"a"])
    await other.claim()
    await one.write([b"lost"])
    await other.write([b"b"])
    await one.write([b"lost too"])
    assert await texts(one) == [b"a", b"b"]


async def test_a_line_that_was_cut_short_is_none(log: SharedLog) -> None:
    notebook = Notebook(log, NAME)
    await notebook.claim()
    (whole,) = encode([b"x" * (2 * CHUNK_SIZE)], 0)
    await log.append(notebook.shard, Records.of(whole.partition_key.to_pylist()[:1], whole.data.to_pylist()[:1]))
    await notebook.write([b"x" * (2 * CHUNK_SIZE), b"y"])
    assert [len(text) for text in await texts(notebook)] == [2 * CHUNK_SIZE, 1]


async def test_what_is_old_is_forgotten_and_its_claim_with_it(log: SharedLog) -> None:
    notebook = Notebook(log, NAME)
    await notebook.claim()
    await notebook.write([b"a", b"b"])
    await log.trim(notebook.shard, 2)
    assert await texts(notebook) == [b"b"]
    await notebook.forget(0)
    assert await texts(notebook) == [b"b"]
    await notebook.clear()
    assert await texts(notebook) == []
    await notebook.drop()
    await notebook.clear()
    assert await texts(notebook) == []


def test_one_process_alone_needs_none(log: SharedLog) -> None:
    assert open_notebooks(MemoryLog()) is None
    opened = open_notebooks(log)
    assert opened is not None
    assert opened(NAME).shard == f"manifests/{NAME}"
