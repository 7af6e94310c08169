"""Delivery streams behind a Kafka topic, without brokers: what is done with offsets that hold nothing, and with trouble."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streams.core.errors import InvalidArgument, LogUnreachable
from streams.core.exchange import FETCH_SIZE_MAX, Fetch, Start, StreamDescription
from streams.core.records import Records, SparseBatch
from streams.core.shards import HASH_KEY_MAX, HashRange, Shard
from tests.firehose.harness import NEWLINES, ROLE, House, function, processing, s3

CLUSTER = "arn:aws:kafka:us-east-1:000000000000:cluster/c/1"
FAR = 5_000_000_000
"""More offsets than a ledger could keep a byte for."""


class Topic:
    """As `connectors.kafka_client.TopicClient`: records by offset, with gaps."""

    def __init__(self, partitions: int) -> None:
        self.id = "1"
        self.records: list[dict[int, bytes]] = [{} for _ in range(partitions)]
        self.firsts = [0] * partitions
        self.trouble: Exception | None = None
        self._news = asyncio.Event()

    def put(self, partition: int, *places: int) -> None:
        """A record at each of the offsets, which says where it is."""
        self.records[partition] |= {at: b"%d-%d" % (partition, at) for at in places}
        self._news.set()

    def change(self, **members: Any) -> None:
        for name, value in members.items():
            setattr(self, name, value)
        self._news.set()

    def _check(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    async def describe_stream(self, stream: str) -> StreamDescription:
        self._check()
        every = HashRange(0, HASH_KEY_MAX)
        shards = tuple(Shard(f"partition-{n}", n, "", every, 0) for n in range(len(self.records)))
        return StreamDescription(stream, CLUSTER, self.id, "ACTIVE", 0, 0, shards)

    async def find(self, stream: str, start: Start, shards: tuple[str, ...] | None = None) -> dict[str, int]:
        self._check()
        ends = [max(each, default=-1) + 1 for each in self.records]
        places = self.firsts if start.kind == "trim_horizon" else ends
        return {f"partition-{n}": place for n, place in enumerate(places)}

    async def fetch(
        self, stream: str, positions: Mapping[str, int], *, size_max: int = FETCH_SIZE_MAX, wait_ms: int = 0
    ) -> Fetch:
        while True:
            self._check()
            self._news.clear()
            batches = []
            for shard, position in positions.items():
                number = int(shard.removeprefix("partition-"))
                first = max(position, self.firsts[number])
                places = sorted(at for at in self.records[number] if at >= first)
                if places:
                    data = [self.records[number][at] for at in places]
                    records = Records.of(["7:3"] * len(data), data).with_arrival(1_700_000_000_000)
                    batches.append(SparseBatch(shard, first, places[-1] + 1, records, np.array(places)))
            grown = len(self.records) > len(positions)
            if batches or grown:
                return Fetch(tuple(batches), grown=grown)
            await self._news.wait()

    async def close(self) -> None:
        pass


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    made = Topic(2)

    def client(clusters: Mapping[str, str], arn: str, topic: str, clock: Any) -> Topic:
        assert clusters[arn].startswith("kafka://"), "a cluster that is not known is refused before"
        assert topic == "t"
        return made

    monkeypatch.setattr("firehose.context.topic_client", client)
    return made


async def create(house: House, name: str = "d", **destination: Any) -> None:
    source = {"MSKClusterARN": CLUSTER, "TopicName": "t"}
    await house.call(
        "CreateDeliveryStream",
        DeliveryStreamName=name,
        DeliveryStreamType="MSKAsSource",
        MSKSourceConfiguration={
            **source,
            "AuthenticationConfiguration": {"RoleARN": ROLE, "Connectivity": "PUBLIC"},
            "ReadFromTimestamp": 0,
        },
        ExtendedS3DestinationConfiguration=s3(**(processing(NEWLINES) | destination)),
    )


def lines(house: House) -> list[bytes]:
    return sorted(line for data in house.objects().values() for line in data.splitlines())


def expected(topic: Topic) -> list[bytes]:
    return sorted(data for each in topic.records for data in each.values())


def house(folder: Path, **settings: Any) -> House:
    return House(folder, kafka_clusters={CLUSTER: "kafka://k:1"}, **settings)


async def test_offsets_without_a_record_are_settled_and_a_desert_takes_no_memory(tmp_path: Path, topic: Topic) -> None:
    topic.put(0, 0, 1, 3, 4, FAR, FAR + 2)
    topic.put(1, FAR + 7)
    kept = house(tmp_path)
    async with kept:
        await create(kept)
        await kept.until(lambda: lines(kept) == expected(topic), step_s=10)
        await kept.until(lambda: kept.settled() == 2 * FAR + 3 + 8)
        assert kept.findings() == []
        topic.put(0, FAR + 10)
        # Restarted before it is due: it is read again, and the gap before it is not noted twice.
        await kept.until(lambda: (tmp_path / "firehose").exists())
        await kept.settle()
    async with kept:
        topic.put(1, FAR + 100)
        await kept.until(lambda: lines(kept) == expected(topic), step_s=10)
        await kept.until(lambda: kept.settled() == 2 * FAR + 11 + 101)
        (stream,) = kept.streams()
        assert all(len(ledger._settled) < 1_000 for ledger in stream.main.ledgers.values())
        (report,) = kept.verified()
        assert (report.findings, report.records, report.dropped, report.lost) == ([], 9, 0, 0)
        manifests = [json.loads(line) for path in tmp_path.rglob("*.ndjson") for line in path.read_text().splitlines()]
        passed = [
            (cover["shard"], cover["first"], cover["next"])
            for line in manifests
            if line["kind"] == "passed"
            for cover in line["coverage"]
        ]
        assert len(passed) == len(set(passed))


async def test_what_is_lost_is_said_and_more_partitions_and_another_topic_are_read(
    tmp_path: Path, topic: Topic
) -> None:
    topic.put(0, *range(5))
    kept = house(tmp_path)
    async with kept:
        await create(kept)
        await kept.until(lambda: lines(kept) == expected(topic), step_s=10)
        topic.change(firsts=[9, 0])
        topic.put(0, 9)
        topic.records.append({})
        topic.firsts.append(0)
        topic.put(2, 0)
        await kept.until(lambda: lines(kept) == expected(topic), step_s=10)
        await kept.until(lambda: kept.settled() == 10 + 1)
        (report,) = kept.verified()
        assert (report.findings, report.lost) == ([], 4)
    fresh = Topic(2)
    fresh.put(0, 0, 1)
    topic.change(id="2", records=fresh.records, firsts=[0, 0])
    before = lines(kept)
    async with kept:
        await kept.until(lambda: lines(kept) == sorted([*before, b"0-0", b"0-1"]), step_s=10)
        await kept.until(kept.delivered)
        assert kept.findings() == []


async def test_trouble_is_described_and_passes(tmp_path: Path, topic: Topic) -> None:
    kept = house(tmp_path)
    async with kept:
        await create(kept)
        topic.change(trouble=LogUnreachable("no broker of k:1 answers for the topic t: gone"))
        shown: dict[str, Any] = {}

        async def failure() -> Any:
            description = (await kept.call("DescribeDeliveryStream", DeliveryStreamName="d"))[
                "DeliveryStreamDescription"
            ]
            shown.update(description)
            return description.get("FailureDescription", {}).get("Details")

        async with asyncio.timeout(60):
            while await failure() != "no broker of k:1 answers for the topic t: gone":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert shown["DeliveryStreamStatus"] == "ACTIVE"
        assert shown["Source"]["MSKSourceDescription"]["ReadFromTimestamp"] == 0
        topic.change(trouble=None)
        topic.put(0, 0)
        await kept.until(lambda: lines(kept) == [b"0-0"], step_s=10)
        assert await failure() is None


async def test_a_function_sees_values_of_a_topic(tmp_path: Path, topic: Topic) -> None:
    topic.put(1, 4)
    topic.records[1][5] = b"x" * (6 << 20) + b"y"
    settings = {"functions": {"f": "tests.firehose.functions:topic_event"}, "function_timeout_s": 60.0}
    async with house(tmp_path, **settings) as kept:
        await create(kept, **processing(function("f"), NEWLINES), ErrorOutputPrefix="bad/")
        await kept.until(lambda: len(kept.objects()) == 2, step_s=10)
        await kept.until(kept.delivered)
        bad = [json.loads(data) for key, data in kept.objects().items() if key.startswith("bad/")]
        (good,) = [json.loads(data) for key, data in kept.objects().items() if not key.startswith("bad/")]
        assert good == {
            "cluster": CLUSTER,
            "value": base64.b64encode(b"1-4").decode(),
            "metadata": {"offset": "4", "partitionId": "1", "approximateArrivalTimestamp": 1_700_000_000_000},
            "data": None,
        }
        ((code, message, attempts),) = [(one["errorCode"], one["errorMessage"], one["attemptsMade"]) for one in bad]
        assert (code, attempts) == ("Lambda.RequestTooLarge", 0)
        assert "larger than the 6 MB" in message


async def test_a_cluster_that_is_not_known_any_more_stops_nothing_else(tmp_path: Path, topic: Topic) -> None:
    async with house(tmp_path) as kept:
        await create(kept)
    other = House(tmp_path, log=kept.log, clock=kept.clock)
    with pytest.MonkeyPatch.context() as patch:
        from connectors.kafka_clusters import topic_client

        patch.setattr("firehose.context.topic_client", topic_client)
        async with other:
            await other.create("direct")
            await other.settle()
            described = await other.call("DescribeDeliveryStream", DeliveryStreamName="d")
            failure = described["DeliveryStreamDescription"]["FailureDescription"]
            assert "the setting kafka_clusters says where" in failure["Details"]
            with pytest.raises(InvalidArgument, match="is not known here"):
                await create(other, "e")
