"""Files that another process goes on with: in a log, and below a URL."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from streams.control.depot import CHUNK_SIZE, Depot, LogDepot, UrlDepot, open_depot
from streams.log.memory import MemoryLog
from tests.control.test_control_shared_journal import SharedLog

SHELF = "firehose/7/main"


@pytest.fixture
def log() -> SharedLog:
    return SharedLog()


@pytest.fixture(params=["log", "url"])
def depots(request: pytest.FixtureRequest, log: SharedLog, tmp_path: Path) -> list[Depot]:
    """As two processes have it."""
    if request.param == "log":
        return [LogDepot(log), LogDepot(log)]
    return [UrlDepot(f"file://{tmp_path}/depot"), UrlDepot(f"file://{tmp_path}/depot")]


def file(folder: Path, size: int) -> Path:
    path = folder / f"put-{size}"
    path.write_bytes(random.Random(size).randbytes(size))
    return path


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE, CHUNK_SIZE + 1, 20 * CHUNK_SIZE])
async def test_another_process_finds_what_was_put(depots: list[Depot], tmp_path: Path, size: int) -> None:
    put, found = file(tmp_path, size), tmp_path / "found" / "f"
    await depots[0].put(SHELF, "a.1", put)
    await depots[0].put(SHELF, "b", file(tmp_path, 7))
    assert await depots[1].get(SHELF, "a.1", found)
    assert found.read_bytes() == put.read_bytes()
    assert [path.name for path in found.parent.iterdir()] == ["f"], "nothing half done is left"


async def test_what_is_not_there_is_said(depots: list[Depot], tmp_path: Path) -> None:
    one = depots[0]
    assert not await one.get(SHELF, "a", tmp_path / "f")
    await one.put(SHELF, "a", file(tmp_path, 3))
    assert not await one.get(SHELF, "b", tmp_path / "f")
    await one.put(SHELF, "b", file(tmp_path, 4))
    await one.remove(SHELF, ["a"])
    assert not await one.get(SHELF, "a", tmp_path / "f")
    assert await one.get(SHELF, "b", tmp_path / "f")
    await one.drop(SHELF)
    await one.drop(SHELF)
    assert not await one.get(SHELF, "b", tmp_path / "f")


async def test_a_put_that_was_cut_short_is_not_taken_for_one(log: SharedLog, tmp_path: Path) -> None:
    """The log has a part of it; the whole one comes later, under the same name."""
    depot, path = LogDepot(log), file(tmp_path, 20 * CHUNK_SIZE)
    await depot.put(SHELF, "a", path)
    first, next_ = await log.bounds(f"depot/{SHELF}")
    half = await log.read(f"depot/{SHELF}", first, 9 * CHUNK_SIZE)
    cut = SharedLog()
    await cut.create(f"depot/{SHELF}")
    await cut.append(f"depot/{SHELF}", half.records)
    assert not await LogDepot(cut).get(SHELF, "a", tmp_path / "f")
    await LogDepot(cut).put(SHELF, "a", path)
    assert await LogDepot(cut).get(SHELF, "a", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == path.read_bytes()
    assert next_ == 20


async def test_removing_never_takes_what_another_process_has_put(log: SharedLog, tmp_path: Path) -> None:
    """One that lost the shelf tidies up late."""
    late, owner = LogDepot(log), LogDepot(log)
    await late.put(SHELF, "old", file(tmp_path, 1))
    await owner.put(SHELF, "new", file(tmp_path, 2))
    await late.put(SHELF, "never", file(tmp_path, 3))
    await late.remove(SHELF, ["old"])
    assert await owner.get(SHELF, "new", tmp_path / "f")
    await owner.put(SHELF, "newer", file(tmp_path, 4))
    await owner.remove(SHELF, ["newer"])
    assert await owner.get(SHELF, "new", tmp_path / "f"), "it is older, and not done with"


async def test_where_one_process_has_the_log_there_is_none(tmp_path: Path) -> None:
    assert open_depot(MemoryLog(), str(tmp_path)) is None
