"""Whatever happens to the bytes of a segment: no wrong record is ever served, and what is lost is said."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from streams.core.clock import ManualClock
from streams.core.records import ProducerMark, Records
from streams.log import frames, recovery
from streams.log.embedded import EmbeddedLog
from tests.log.engines import Row, read_all, records, rows

WORKED_EXAMPLE = (
    "48524631 00000000 20000000 8fa151ef 00000000 00000000 01000000 01000000 04000000 0068e5cf 8b010000 00000000 "
    "00000000 00000000 00000000 e4806a98 00000000 01000000 00000000 04000000 6b000000 00000000 64617461 00000000"
)

APPENDS: list[list[Row]] = [[("a", b"first")], [("b", b"second"), ("c", b"")], [("d", b"the third append")]]
ALL = [row for some in APPENDS for row in some]
BOUNDARIES = [0, 1, 3, 4]


def test_the_worked_example_is_what_is_written() -> None:
    written = b"".join(frames.encode(records([("k", b"data")]), 0, 1_700_000_000_000, 0))
    assert written == bytes.fromhex(WORKED_EXAMPLE)
    documented = (frames.__doc__ or "").partition("Worked example")[2].partition("What a reader")[0]
    words = [word for word in documented.split() if len(word) == 8 and set(word) <= set("0123456789abcdef")]
    assert words == WORKED_EXAMPLE.split(), "the format's description shows it"


def segment() -> bytes:
    """Three appends as `always` writes them: each knows that the one before was on disk."""
    content = b""
    offset = 0
    for some in APPENDS:
        marks = [frames.MarkAt(offset, ProducerMark("p", offset))]
        content += b"".join(frames.encode(records(some), offset, 1_700_000_000_000, len(content), marks))
        offset += len(some)
    return content


def served(path: Path, content: bytes) -> list[Row]:
    """What a log opened over the segment serves, from offset to offset, gaps passed over."""

    async def run() -> list[Row]:
        log = await EmbeddedLog.open(path, clock=ManualClock())
        await log.create("s")
        await log.close()
        (path / "shards" / "s~" / f"{0:020d}.log").write_bytes(content)
        log = await EmbeddedLog.open(path, clock=ManualClock())
        position, end = await log.bounds("s")
        found: list[Row] = []
        while position < end:
            batch = await log.read("s", position, 1 << 20)
            for offset, row in enumerate(rows(batch.records), batch.first):
                assert ALL[offset] == row, "a record that was never at this offset"
                found.append(row)
            assert batch.next > position
            position = batch.next
        fresh = await log.append("s", records([("new", b"x")]))
        assert rows((await log.read("s", fresh, 100)).records) == [("new", b"x")], "and the log goes on"
        await log.close()
        return found

    return asyncio.run(run())


def test_truncation_at_every_byte_leaves_whole_appends() -> None:
    content = segment()
    for size in range(len(content) + 1):
        scan = recovery.scan(memoryview(content[:size]), 0, 0)
        kept = sum(header.count for header, _ in scan.frames)
        assert kept in BOUNDARIES, "an append is whole or not at all"
        assert scan.end == (scan.frames[-1][0].end if scan.frames else 0)
        ends = [0] + [header.end for header, _ in recovery.scan(memoryview(content), 0, 0).frames]
        assert kept == BOUNDARIES[sum(end <= size for end in ends) - 1], "all that is whole is kept"


def test_every_single_bit_flip_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    content = segment()
    whole = recovery.scan(memoryview(content), 0, 0)
    assert len(whole.frames) == 3
    for bit in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << (bit % 8)
        scan = recovery.scan(memoryview(flipped), 0, 0)
        hit = next(i for i, (header, _) in enumerate(whole.frames) if bit // 8 < header.end)
        bases = [header.base for header, _ in scan.frames]
        assert bases == [base for i, base in enumerate(BOUNDARIES[:3]) if i != hit], f"bit {bit}"


@pytest.mark.parametrize("bit", [0, 32 * 8, 70 * 8, 110 * 8 + 3, 200 * 8, 300 * 8 + 7])
def test_rot_is_passed_over_and_the_rest_is_served(tmp_path: Path, bit: int) -> None:
    content = bytearray(segment())
    content[bit // 8] ^= 1 << (bit % 8)
    found = served(tmp_path / "log", bytes(content))
    assert 0 < len(found) < len(ALL)


@pytest.mark.parametrize("size", [1, 63, 64, 100, 150, 250])
def test_a_torn_tail_is_cut(tmp_path: Path, size: int) -> None:
    found = served(tmp_path / "log", segment()[:size])
    assert found == ALL[: len(found)]


async def test_rot_in_a_sealed_segment_is_passed_over_when_it_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = await EmbeddedLog.open(tmp_path / "log", clock=ManualClock(), segment_size_max=600)
    await log.create("s")
    for number in range(12):
        await log.append("s", records([(str(number), b"x" * 200)]))
    await log.close()
    files = sorted((tmp_path / "log" / "shards" / "s~").glob("*.log"))
    assert len(files) > 2
    content = bytearray(files[0].read_bytes())
    content[200] ^= 1
    files[0].write_bytes(content)
    log = await EmbeddedLog.open(tmp_path / "log", clock=ManualClock(), segment_size_max=600)
    batch = await log.read("s", 0, 1 << 20)
    assert batch.first > 0
    assert rows(batch.records)[0][0] == str(batch.first), "what follows is served at its own offsets"
    assert "damaged" in caplog.text
    await log.close()


async def test_a_lost_or_damaged_sidecar_costs_a_scan_and_nothing_else(tmp_path: Path) -> None:
    log = await EmbeddedLog.open(tmp_path / "log", clock=ManualClock(), segment_size_max=600)
    await log.create("s")
    for number in range(12):
        await log.append("s", records([(str(number), b"x" * 200)]), ProducerMark("p", number))
    await log.close()
    sidecars = sorted((tmp_path / "log" / "shards" / "s~").glob("*.idx"))
    sidecars[0].unlink()
    sidecars[1].write_bytes(b"nonsense")
    sidecars[-1].write_bytes(sidecars[-1].read_bytes()[:-1])
    log = await EmbeddedLog.open(tmp_path / "log", clock=ManualClock(), segment_size_max=600)
    assert [key for key, _ in await read_all(log, "s")] == [str(number) for number in range(12)]
    assert await log.append("s", Records.of(["11"], [b"x"]), ProducerMark("p", 11)) == 11
    assert await log.bounds("s") == (0, 12)
    await log.close()
