"""Delivery over a real S3 server that checks `If-None-Match`: objects are created once, through crashes of ours and of the
server's, and through everything that a network does in between."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import s3fs

from connectors import files
from connectors.files import open_store
from firehose.staging import Staging
from tests.firehose.harness import NEWLINES, House, processing
from tests.firehose.test_firehose_crash import Crasher, crash_over_and_over, crasher, found, new_house
from tests.s3.s3_server import (
    Fault,
    Proxy,
    S3Server,
    answers,
    breaks_off,
    environment,
    hangs,
    is_slow,
    loses_the_answer,
    resets,
)

__all__ = ["crasher"]

LAKE = {"lake": "s3://lake/raw"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3")).start()
    yield server
    server.kill()


@pytest.fixture
def server(running: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """With the empty bucket `lake`, where s3fs finds it."""
    seen_at(monkeypatch, running.url)
    client = running.client()
    client.create_bucket(Bucket="lake")
    yield running
    for listed in client.list_objects_v2(Bucket="lake").get("Contents", []):
        client.delete_object(Bucket="lake", Key=listed["Key"])
    client.delete_bucket(Bucket="lake")


@pytest.fixture
def proxy(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """In front of the server; nothing goes wrong until a test says so."""
    proxy = Proxy(server.port)
    seen_at(monkeypatch, proxy.url)
    yield proxy
    proxy.close()
    s3fs.S3FileSystem.clear_instance_cache()


def seen_at(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name, value in environment(url):
        monkeypatch.setenv(name, value)
    # A client that gives up soon, and tries twice by itself: the delivery's own tries are what is tested.
    monkeypatch.setattr(s3fs.S3FileSystem, "read_timeout", 1)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 2)
    monkeypatch.setattr(files, "ANSWER_S_MAX", 5.0)
    s3fs.S3FileSystem.clear_instance_cache()


def staged(folder: Path, content: bytes, name: str = "staged") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_of_many_that_create_an_object_one_does(tmp_path: Path, server: S3Server) -> None:
    """Each with other contents of the same size: that it is there already is an answer only to the one that made it."""
    store = open_store(LAKE["lake"])
    contents = [bytes([number]) * 1000 for number in range(8)]
    paths = [staged(tmp_path, content, f"{number}") for number, content in enumerate(contents)]

    def publish(path: Path) -> bool:
        try:
            store.publish(path, "one")
        except OSError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(publish, paths))
    assert made.count(True) == 1
    assert server.client().get_object(Bucket="lake", Key="raw/one")["Body"].read() == contents[made.index(True)]
    assert list(map(publish, paths)) == made, "and again the one that is ours is taken for done"


@pytest.mark.parametrize("size", [1000, 40 << 20])
def test_an_object_of_somebody_else_is_never_replaced(tmp_path: Path, server: S3Server, size: int) -> None:
    """Also of the same size, and also where it takes parts: then the upload is completed only if nothing is there."""
    store, client = open_store(LAKE["lake"]), server.client()
    store.publish(staged(tmp_path, b"a" * size), "one")
    store.publish(tmp_path / "staged", "one")
    for other in (b"b" * size, b"a" * (size + 1)):
        with pytest.raises(OSError, match=r"(?i)pre-?condition"):
            store.publish(staged(tmp_path, other), "one")
    body = client.get_object(Bucket="lake", Key="raw/one")["Body"].read()
    assert body == b"a" * size
    assert not client.list_multipart_uploads(Bucket="lake").get("Uploads"), "what was begun is cleared away"


def test_a_large_object_goes_in_parts(tmp_path: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    content = random.Random(1).randbytes(3 * files.PART_SIZE + 1)
    open_store(LAKE["lake"]).publish(staged(tmp_path, content), "one", "gzip")
    head = server.client().head_object(Bucket="lake", Key="raw/one")
    assert head["ETag"].strip('"').endswith("-4"), "S3's mark of an object of four parts"
    assert (head["ContentEncoding"], head["ContentLength"]) == ("gzip", len(content))
    assert open_store(LAKE["lake"]).open("one").read() == content


FAULTS: dict[str, list[Fault]] = {
    "an error of the server": [answers("500 Internal Server Error")] * 9,
    "too much at once": [answers("503 Slow Down", "SlowDown")] * 9,
    "a conflict of two writers": [answers("409 Conflict", "ConditionalRequestConflict")] * 4,
    "no permission, for a while": [answers("403 Forbidden", "AccessDenied")] * 3,
    "connections that break": [resets] * 9,
    "uploads that stop in the middle": [breaks_off] * 9,
    "answers that get lost": [loses_the_answer] * 3,
    "no answer": [hangs] * 2,
    "a slow server": [is_slow] * 3,
    "all of it": [resets, loses_the_answer, answers("500 Internal Server Error"), breaks_off, is_slow],
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS.keys())
async def test_each_record_is_in_one_object_whatever_a_store_does(
    tmp_path: Path, server: S3Server, proxy: Proxy, faults: list[Fault]
) -> None:
    async with House(tmp_path, buckets=LAKE) as house:
        await house.create(**processing(NEWLINES))
        proxy.faults[:] = faults
        for turn in range(2):
            await house.put("firehose/flights", [b"%d.%d" % (turn, n) for n in range(2000)])
            await house.until(lambda want=2000 * (turn + 1): house.settled() == want, step_s=1)
        assert proxy.met == len(faults) - len(proxy.faults) > 0
        assert found(house) == Counter(b"%d.%d" % (turn, n) for turn in range(2) for n in range(2000))
        assert not house.findings()
    assert not server.client().list_multipart_uploads(Bucket="lake").get("Uploads")


@pytest.mark.parametrize("parts", [False, True], ids=["whole", "in parts"])
async def test_the_server_is_killed_in_the_middle_of_uploads(
    tmp_path: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch, seed: int, parts: bool
) -> None:
    randomness = random.Random(seed)
    if parts:
        monkeypatch.setattr(files, "PART_SIZE", 5 << 20)  # S3's least
    size, turns = (12_000, 3) if parts else (100, 5)
    sent: list[bytes] = []
    async with House(tmp_path, buckets=LAKE) as house:
        await house.create(size=64 if parts else 1, **processing(NEWLINES))
        for turn in range(turns):
            records = [b"%d.%d.%s" % (turn, n, b"x" * size) for n in range(1000)]
            sent += records
            await house.put("firehose/flights", records)
            await house.until(lambda: bool(house.streams()[0].main.plans), step_s=20)
            for _ in range(randomness.randrange(40)):
                await house.pass_time(0.001)
            server.kill()
            for _ in range(3):
                await house.pass_time(5)
            server.start()
            await house.until(lambda want=1000 * (turn + 1): house.settled() == want, step_s=1)
        assert found(house) == Counter(sent)
        assert not house.findings()


@pytest.mark.parametrize("first", [*range(1, 14), None])
async def test_a_crash_at_each_step(
    tmp_path: Path, server: S3Server, crasher: Crasher, seed: int, first: int | None
) -> None:
    """Of ours; without a step at random ones, with the server's going on between them."""
    house = new_house(tmp_path, crasher, buckets=LAKE)
    async with house:
        await house.client.create_stream("air", 2)
        await house.create(kinesis="air", **processing(NEWLINES))
    step: Callable[[random.Random], int] = lambda r: r.randrange(1, 16) if first is None else first  # noqa: E731
    sent = await crash_over_and_over(house, crasher, seed, 12 if first is None else 2, step, patient=True)
    assert found(house) == Counter(sent)


async def test_a_store_that_is_away_for_an_hour(tmp_path: Path, server: S3Server, proxy: Proxy) -> None:
    async with House(tmp_path, buckets=LAKE) as house:
        await house.create(**processing(NEWLINES))
        proxy.faults[:] = [answers("503 Slow Down", "SlowDown")] * 10_000
        await house.put("firehose/flights", [b"%d" % n for n in range(1000)])
        began_ms = house.clock.now_ms()
        await house.until(lambda: house.clock.now_ms() - began_ms > 3_600_000, step_s=5)
        assert house.settled() == 0
        assert proxy.met <= 3 * (3600 / 60 + 10), "tries are a minute apart in the end, each of s3fs's own three"
        proxy.faults.clear()
        await house.until(lambda: house.settled() == 1000, step_s=5)
        assert found(house) == Counter(b"%d" % n for n in range(1000))


async def test_another_object_under_the_name_stops_the_delivery_and_is_not_touched(
    tmp_path: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """412, and not ours: it is tried again until somebody has taken the stranger away."""
    client, stage = server.client(), Staging.stage

    def occupied(self: Staging, chunks: Any) -> Any:
        plan = stage(self, chunks)
        for one in plan.objects:
            client.put_object(Bucket="lake", Key=f"raw/{one.key}", Body=b"x" * one.size)
        return plan

    monkeypatch.setattr(Staging, "stage", occupied)
    async with House(tmp_path, buckets=LAKE) as house:
        await house.create(**processing(NEWLINES))
        await house.put("firehose/flights", [b"1", b"2"])
        ((_, _, meter),) = house.firehose.meters()
        await house.until(lambda: meter.refusals >= 3, step_s=5)
        assert house.settled() == 0
        ((key, body),) = house.objects().items()
        assert body == b"xxxx"
        client.delete_object(Bucket="lake", Key=f"raw/{key}")
        await house.until(lambda: house.settled() == 2, step_s=5)
        assert list(house.objects().values()) == [b"1\n2\n"]
