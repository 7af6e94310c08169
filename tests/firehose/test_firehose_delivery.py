"""From a put to a file, through the real parts."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from tests.firehose.harness import NEWLINES, House, processing

NAME = re.compile(
    r"2023/11/14/22/flights-1-2023-11-14-22-13-20-[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
)


async def test_a_kinesis_stream_is_delivered_as_ndjson(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.client.create_stream("air", 2)
        await house.put("air", [b'{"before":1}'])
        await house.create(kinesis="air", **processing(NEWLINES))
        sent = [b'{"n":%d}' % n for n in range(100)]
        await house.put("air", sent)
        await house.until(house.delivered, step_s=10)
        ((name, content),) = house.objects().items()
        assert NAME.fullmatch(name)
        assert sorted(content.splitlines()) == sorted(sent)


async def test_direct_put_without_a_delimiter_is_glued_together(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.create()
        for _ in range(3):
            await house.call("PutRecord", DeliveryStreamName="flights", Record={"Data": b"abc"})
        await house.until(house.delivered, step_s=10)
        assert list(house.objects().values()) == [b"abcabcabc"]


async def test_gzip(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.create(CompressionFormat="GZIP", **processing(NEWLINES))
        await house.call(
            "PutRecordBatch", DeliveryStreamName="flights", Records=[{"Data": b"a"}, {"Data": b""}, {"Data": b"b"}]
        )
        await house.until(house.delivered, step_s=10)
        ((name, content),) = house.objects().items()
        assert name.endswith(".gz")
        assert gzip.decompress(content) == b"a\n\nb\n"


async def test_size_flushes_before_the_interval(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.create(interval=900)
        await house.client.put("firehose/flights", await _megabyte())
        await house.until(house.delivered)
        assert sum(map(len, house.objects().values())) == 1 << 20


async def test_a_restart_delivers_what_was_buffered_and_nothing_twice(tmp_path: Path) -> None:
    house = await House(tmp_path).open()
    await house.create(**processing(NEWLINES))
    await house.put("firehose/flights", [b"1", b"2"])
    await house.until(house.delivered, step_s=10)
    await house.put("firehose/flights", [b"3"])
    await house.settle()
    await house.close()
    async with house:
        await house.until(lambda: len(house.objects()) == 2, step_s=10)
        await house.pass_time(1000)
        assert sorted(house.objects().values()) == [b"1\n2\n", b"3\n"]
        assert not list((tmp_path / "firehose" / "staging").rglob("*.*"))


async def _megabyte():  # type: ignore[no-untyped-def]
    from streams.core.records import Records

    return Records.of(["k"] * 1024, [b"x" * 1024] * 1024)
