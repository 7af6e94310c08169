"""Encryption at rest: what is on disk cannot be read, moved or opened without the key; old data and old keys go on."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from streams.core.clock import ManualClock
from streams.core.errors import LogError, SettingsError
from streams.core.records import ProducerMark
from streams.log.embedded import EmbeddedLog
from streams.log.frames import HEADER_SIZE, decode_header
from streams.log.sealing import Keyring, key_id, keyring
from tests.log.engines import KEY, read_all, records

OTHER = bytes(32)
ROWS = [(f"secret-key-{number}", b"secret data " * 3) for number in range(50)]


async def opened(path: Path, *keys: bytes, compress: bool = True) -> EmbeddedLog:
    return await EmbeddedLog.open(
        path,
        clock=ManualClock(),
        segment_size_max=1000,
        compress=compress,
        keyring=Keyring(keys) if keys else None,
    )


async def fill(log: EmbeddedLog, shard: str = "a", first: int = 0) -> None:
    await log.create(shard)
    for number, row in enumerate(ROWS):
        await log.append(shard, records([row]), ProducerMark("producer", first + number))
    await log.packed()


def content(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())


@pytest.mark.parametrize("compress", [False, True])
async def test_nothing_readable_is_on_disk(tmp_path: Path, compress: bool) -> None:
    log = await opened(tmp_path, KEY, compress=compress)
    await fill(log)
    assert b"secret" not in content(tmp_path)
    assert await read_all(log, "a") == ROWS
    await log.close()
    assert b"secret" not in content(tmp_path)
    log = await opened(tmp_path, KEY, compress=compress)
    assert await read_all(log, "a") == ROWS
    assert await log.append("a", records(ROWS[:1]), ProducerMark("producer", 3)) == 49, "the producers' marks are known"
    await log.close()


async def test_without_the_key_or_with_another_it_does_not_open(tmp_path: Path) -> None:
    log = await opened(tmp_path, KEY)
    await fill(log)
    await log.close()
    for keys, told in (((), "the settings have none"), ((OTHER,), f"the settings have {key_id(OTHER):08x}")):
        with pytest.raises(LogError, match=f"is encrypted with the key {key_id(KEY):08x}, and {told}"):
            await opened(tmp_path, *keys)
    assert (tmp_path / "FORMAT").read_text() == "headrace-log 3\n"
    log = await opened(tmp_path, KEY)
    assert await read_all(log, "a") == ROWS
    await log.close()


async def test_keys_are_changed_and_plain_data_are_read_on(tmp_path: Path) -> None:
    log = await opened(tmp_path, compress=False)
    await fill(log)
    await log.close()
    assert (tmp_path / "FORMAT").read_text() == "headrace-log 2\n"
    log = await opened(tmp_path, KEY)
    await log.packed()
    assert await read_all(log, "a") == ROWS
    await fill(log, first=100)
    await log.close()
    log = await opened(tmp_path, OTHER, KEY)
    await fill(log, first=200)
    assert await read_all(log, "a") == ROWS * 3
    await log.close()
    with pytest.raises(LogError, match=f"{key_id(KEY):08x}"):
        await opened(tmp_path, OTHER)


async def test_a_frame_that_was_moved_or_changed_is_passed_over_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = await opened(tmp_path, KEY, compress=False)
    for shard in ("a", "b"):
        await log.create(shard)
        for row in ROWS:
            await log.append(shard, records([row]))
    (one, *_), (two, *_) = (sorted((tmp_path / "shards" / f"{shard}~").glob("*.log")) for shard in "ab")
    # Whoever can write to the disk puts one shard's records into another: their checksums are right.
    two.write_bytes(one.read_bytes())
    found = await read_lenient(log, "b")
    assert found == ROWS[len(ROWS) - len(found) :]
    assert 0 < len(found) < len(ROWS)
    assert "it does not open: it is not what was written there" in caplog.text
    await log.close()


async def read_lenient(log: EmbeddedLog, shard: str) -> list[tuple[str, bytes]]:
    position, end = await log.bounds(shard)
    found = []
    while position < end:
        batch = await log.read(shard, position, 1 << 20)
        found += list(zip(batch.records.partition_key.to_pylist(), batch.records.data.to_pylist(), strict=True))
        position = batch.next
    return found


async def test_no_two_frames_have_the_same_nonce_under_one_key(tmp_path: Path) -> None:
    seen = set()
    for number in range(5):
        log = await opened(tmp_path, KEY, compress=False)
        await fill(log, first=number * 1000)
        await log.close()
    for path in (tmp_path / "shards" / "a~").glob("*.log"):
        whole, at = memoryview(path.read_bytes()), 0
        while at < len(whole):
            header = decode_header(whole, at, at)
            assert header is not None
            assert header.sealed
            seen.add(bytes(whole[at + HEADER_SIZE : at + HEADER_SIZE + 24]))
            at = header.end
    assert len(seen) == 5 * len(ROWS)


def test_keys_of_the_settings(tmp_path: Path) -> None:
    text = base64.b64encode(os.urandom(32)).decode()
    (tmp_path / "key").write_text(text + "\n")
    assert keyring("") is None
    one, other = keyring(text), keyring(f"file:{tmp_path / 'key'}")
    assert one is not None
    assert other is not None
    assert one.ids == other.ids
    for key, old, told in (
        ("short", (), "not 32 bytes in base64: `openssl rand -base64 32`"),
        (base64.b64encode(bytes(31)).decode(), (), "not 32 bytes"),
        (f"file:{tmp_path / 'none'}", (), "cannot be read"),
        ("", (text,), "which key is to seal"),
        (text, ("x",), "encryption_keys_old is not 32 bytes"),
    ):
        with pytest.raises(SettingsError, match=told):
            keyring(key, old)
