"""Verifying: a log that is whole is found to be, and nothing that is not whole is taken to be."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.core.clock import ManualClock
from streams.core.errors import LogError
from streams.core.records import ProducerMark
from streams.log.embedded import EmbeddedLog
from streams.log.sealing import Keyring
from streams.log.verifying import ShardReport, Verification
from tests.log.engines import KEY, records, rows

Row = tuple[str, bytes]
ROWS = [(f"key-{number}", bytes([number]) * 60) for number in range(120)]


async def made(path: Path, *, sealed: bool = False, compress: bool = False, trim: int = 0) -> Path:
    log = await EmbeddedLog.open(
        path,
        clock=ManualClock(),
        segment_size_max=2000,
        compress=compress,
        keyring=Keyring([KEY]) if sealed else None,
    )
    await log.create("a/b")
    for number in range(0, len(ROWS), 3):
        await log.append("a/b", records(ROWS[number : number + 3]), ProducerMark("p", number))
    await log.packed()
    if trim:
        await log.trim("a/b", trim)
    await log.close()
    return path / "shards" / "a" / "b~"


def verified(path: Path, *, sealed: bool = False) -> tuple[ShardReport, list[Row]]:
    found: list[Row] = []
    verification = Verification(path, Keyring([KEY]) if sealed else None)
    try:
        assert verification.shards() == ["a/b"]
        report = verification.verify("a/b", lambda some: found.extend(rows(some)))
    finally:
        verification.close()
    return report, found


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("trim", [0, 50])
async def test_what_is_whole_is_found_whole_and_left_alone(
    tmp_path: Path, sealed: bool, compress: bool, trim: int
) -> None:
    folder = await made(tmp_path, sealed=sealed, compress=compress, trim=trim)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    report, found = verified(tmp_path, sealed=sealed)
    assert report.findings == []
    assert (report.first, report.next, report.records) == (trim, len(ROWS), len(ROWS) - trim)
    assert found == ROWS[trim:]
    assert report.segments == len([*folder.glob("*.log"), *folder.glob("*.zlog")]) > 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("compress", [False, True])
async def test_any_flipped_bit_is_found(tmp_path: Path, seed: int, sealed: bool, compress: bool) -> None:
    dice = random.Random(seed)
    await made(tmp_path / "whole", sealed=sealed, compress=compress)
    for number in range(60):
        copy = Path(shutil.copytree(tmp_path / "whole", tmp_path / str(number)))
        path = dice.choice(sorted(path for path in (copy / "shards").rglob("*.*") if path.is_file()))
        content = bytearray(path.read_bytes())
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        path.write_bytes(content)
        report, _ = verified(copy, sealed=sealed)
        assert report.findings, f"{path.name} was changed"
        # Of a segment that has lost its last frame the one behind it says so too.
        assert report.findings[0].path.stem == path.stem
        shutil.rmtree(copy)


def last_segment(folder: Path) -> Path:
    return sorted(folder.glob("*.log"))[-1]


def cut_the_end(folder: Path) -> None:
    for sidecar in folder.glob("*.idx"):
        sidecar.unlink()
    path = last_segment(folder)
    path.write_bytes(path.read_bytes()[:-10])


def cut_the_middle(folder: Path) -> None:
    path = sorted(folder.glob("*.log"))[1]
    path.write_bytes(path.read_bytes()[:-10])


def lose_a_segment(folder: Path) -> None:
    sorted(folder.glob("*.log"))[1].unlink()


def lose_the_first(folder: Path) -> None:
    sorted(folder.glob("*.log"))[0].unlink()


def lose_sidecars(folder: Path) -> None:
    for sidecar in folder.glob("*.idx"):
        sidecar.unlink()


def leave_an_unfinished_file(folder: Path) -> None:
    (folder / "00000000000000000000.zlog.new").write_bytes(b"half")


@pytest.mark.parametrize(
    ("change", "kinds", "told"),
    [
        (cut_the_end, {"torn"}, "are no whole frame"),
        (cut_the_middle, {"damage"}, "are no whole frame"),
        (lose_a_segment, {"damage"}, "is the next"),
        (lose_the_first, {"damage"}, "0 is the first that is retained"),
        (lose_sidecars, set(), ""),
        (leave_an_unfinished_file, {"left over"}, "unfinished"),
    ],
)
async def test_what_is_missing_is_told_and_what_a_crash_leaves_is_no_damage(
    tmp_path: Path, change: Callable[[Path], None], kinds: set[str], told: str
) -> None:
    change(await made(tmp_path))
    report, _ = verified(tmp_path)
    assert {finding.kind for finding in report.findings} == kinds
    assert report.whole == ("damage" not in kinds)
    if told:
        assert any(told in finding.what for finding in report.findings)


async def test_a_log_that_is_open_or_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="holds no log"):
        Verification(tmp_path)
    assert not any(tmp_path.iterdir())
    log = await EmbeddedLog.open(tmp_path / "log", clock=ManualClock())
    with pytest.raises(LogError, match="in use by another process"):
        Verification(tmp_path / "log")
    await log.close()
