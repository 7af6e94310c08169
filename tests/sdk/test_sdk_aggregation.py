"""Aggregation: the format against `aws-kinesis-agg`, and every user record seen once through reshardings."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Sequence
from typing import Any

import pytest
from aws_kinesis_agg.aggregator import AggRecord
from aws_kinesis_agg.deaggregator import deaggregate_records
from aws_kinesis_agg.messages_pb2 import AggregatedRecord
from hypothesis import given
from hypothesis import strategies as st

from streams.core.errors import ValidationError
from streams.core.records import ProducerMark, Records
from streams.core.shards import HASH_KEY_MAX, HashRange
from streams.sdk.aggregation import MAGIC, UserRecord, decode, encode
from streams.sdk.client import Client, Receipt
from streams.sdk.consumer import Consumer
from streams.sdk.packing import UnpackedBatch
from streams.sdk.producer import Producer
from streams.service import Service
from tests.sdk.conftest import operate

KEYS = st.text(min_size=1, max_size=256).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text))
HASH_KEYS = st.none() | st.integers(0, HASH_KEY_MAX).map(lambda number: number.to_bytes(16, "big"))
USER_RECORDS = st.builds(UserRecord, KEYS, st.binary(max_size=20_000), HASH_KEYS)


def by_amazon(records: Sequence[UserRecord]) -> bytes:
    aggregate = AggRecord()
    for key, data, place in records:
        assert aggregate.add_user_record(key, data, None if place is None else str(int.from_bytes(place, "big")))
    blob: bytes = aggregate.get_contents()[2]
    return blob


def read_by_amazon(blob: bytes) -> list[UserRecord]:
    carrier: dict[str, Any] = {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "sequenceNumber": "1",
            "partitionKey": "a",
            "approximateArrivalTimestamp": 1.0,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": "1",
    }
    carrier["kinesis"]["data"] = base64.b64encode(blob)
    message = AggregatedRecord.FromString(blob[4:-16])
    found = []
    for one, entry in zip(deaggregate_records([carrier]), message.records, strict=True):
        inner = one["kinesis"]
        # Its own `explicitHashKey` is the first of the table for a record that has none.
        explicit = entry.HasField("explicit_hash_key_index")
        place = int(inner["explicitHashKey"]).to_bytes(16, "big") if explicit else None
        found.append(UserRecord(inner["partitionKey"], base64.b64decode(inner["data"]), place))
    return found


@given(st.lists(USER_RECORDS, min_size=1, max_size=30))
def test_amazons_library_reads_what_we_write(records: list[UserRecord]) -> None:
    blob = encode(records)
    assert read_by_amazon(blob) == records
    assert decode(blob) == records


@given(st.lists(USER_RECORDS, min_size=1, max_size=30))
def test_we_read_what_amazons_library_writes(records: list[UserRecord]) -> None:
    assert decode(by_amazon(records)) == records


@given(st.lists(USER_RECORDS, min_size=1, max_size=4), st.data())
def test_any_damage_makes_it_a_plain_record(records: list[UserRecord], data: st.DataObject) -> None:
    blob = bytearray(encode(records))
    place = data.draw(st.integers(0, len(blob) - 1))
    blob[place] ^= data.draw(st.integers(1, 255))
    assert decode(bytes(blob)) is None
    assert decode(bytes(blob[:place])) is None


@given(st.binary(max_size=200))
def test_a_message_that_is_none_is_a_plain_record(message: bytes) -> None:
    """With the right digest around it: nothing but the message is wrong, and nothing raises."""
    found = decode(MAGIC + message + hashlib.md5(message).digest())
    assert found is None or all(isinstance(record, UserRecord) for record in found)


@pytest.mark.parametrize(
    "message",
    [
        "1a02080a",  # data are missing
        "0a016b1a021a00",  # the key's index is missing
        "0a016b1a0408011a00",  # an index past the table
        "0a016b1a0608001a056869",  # data that go on after the message
        "0a01ff1a0408001a00",  # a key that is not UTF-8
        "0a016b1201781a06080010001a00",  # a hash key that is no number
        "03",  # a group
    ],
)
def test_messages_that_are_damaged(message: str) -> None:
    blob = bytes.fromhex(message)
    assert decode(MAGIC + blob + hashlib.md5(blob).digest()) is None


def test_tags_and_unknown_fields_are_passed_over() -> None:
    message = bytes.fromhex("0a016b1a0d08001a02686922050a017412002a017830013d00000000")
    assert decode(MAGIC + message + hashlib.md5(message).digest()) == [UserRecord("k", b"hi")]


async def read_all(client: Client, stream: str, count: int) -> list[UnpackedBatch]:
    found: list[UnpackedBatch] = []
    async with Consumer(client, stream, deaggregate=True) as consumer:
        while sum(len(batch) for batch in found) < count:
            batch = await anext(consumer)
            assert isinstance(batch, UnpackedBatch)
            found.append(batch)
    return found


async def test_a_producer_that_aggregates_and_a_consumer_that_takes_apart(client: Client, seed: int) -> None:
    dice = random.Random(seed)
    await client.create_stream("s", 3)
    async with Producer(client, "s", aggregate=True, randomness=dice) as producer:
        tickets = [await producer.put(b"%d" % index, f"k{dice.randrange(40)}") for index in range(2_000)]
        places = [await ticket for ticket in tickets]
    plain = await client.put("s", Records.of(["k1"], [b"alone"]))
    batches = await read_all(client, "s", 2_001)
    seen = {
        data: (batch.shard, int(offset))
        for batch in batches
        for data, offset in zip(batch.records.data.to_pylist(), batch.offset, strict=True)
    }
    assert [seen[b"%d" % index] for index in range(2_000)] == places
    assert seen[b"alone"] == (plain.shards[plain.shard[0].as_py()], plain.offset[0].as_py())
    assert sum(batch.next - batch.first for batch in batches) < 100, "records of the stream are few"
    for batch in batches:
        table = batch.to_arrow()
        positions = list(zip(table["offset"].to_pylist(), table["sub"].to_pylist(), strict=True))
        assert positions == sorted(set(positions)), "each has a place of its own, in order"
        assert table["arrival"].null_count == 0
        assert [int(data) for data in table["data"].to_pylist() if data != b"alone"] == sorted(
            int(data) for data in table["data"].to_pylist() if data != b"alone"
        )


async def test_explicit_hash_keys_go_through(client: Client) -> None:
    await client.create_stream("s", 2)
    async with Producer(client, "s", aggregate=True) as producer:
        for index in range(10):
            await producer.put(f"{index}", "same", explicit_hash_key=HASH_KEY_MAX if index % 2 else 0)
    batches = await read_all(client, "s", 10)
    assert {(batch.shard, bytes(data)) for batch in batches for data in batch.records.data.to_pylist()} == {
        (f"shardId-00000000000{index % 2}", b"%d" % index) for index in range(10)
    }


async def test_large_records_travel_by_themselves_and_in_their_order(client: Client) -> None:
    await client.create_stream("s")
    sizes = [10, 20, 60_000, 30, 40, 200_000, 50]
    async with Producer(client, "s", aggregate=True) as producer:
        await producer.put_many(("k", bytes(size)) for size in sizes)
    (batch,) = await read_all(client, "s", len(sizes))
    assert [len(data) for data in batch.records.data.to_pylist()] == sizes
    assert batch.next - batch.first >= 4


async def test_an_aggregate_is_never_larger_than_told(client: Client) -> None:
    await client.create_stream("s")
    async with Producer(client, "s", aggregate=True, aggregate_size_max=2_000) as producer:
        await producer.put_many((f"key {index}", bytes(index % 90)) for index in range(500))
    async with Consumer(client, "s") as consumer:
        batch = await anext(consumer)
    assert max(len(data) for data in batch.records.data.to_pylist()) <= 2_000
    with pytest.raises(ValidationError, match="an aggregate has at most"):
        Producer(client, "s", aggregate=True, aggregate_size_max=2 << 20)


class Splitting:
    """A client whose stream is split between the packing and the put."""

    def __init__(self, client: Client, service: Service) -> None:
        self._client = client
        self._service = service
        self.puts = 0

    async def put(self, stream: str, records: Records, mark: ProducerMark | None = None) -> Receipt:
        self.puts += 1
        if self.puts == 2:
            await operate(
                self._service,
                "SplitShard",
                StreamName=stream,
                ShardToSplit="shardId-000000000000",
                NewStartingHashKey=str(1 << 127),
            )
        return await self._client.put(stream, records, mark)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


async def test_records_that_a_split_makes_go_astray_are_put_again_and_seen_once(
    client: Client, service: Service
) -> None:
    await client.create_stream("s")
    splitting = Splitting(client, service)
    count = 300
    async with Producer(splitting, "s", aggregate=True) as producer:
        for start in (0, count):
            tickets = await producer.put_many((f"k{index}", f"{index}") for index in range(start, start + count))
            places = [await ticket for ticket in tickets]
    assert splitting.puts == 3
    batches = await read_all(client, "s", 2 * count)
    seen = [data for batch in batches for data in batch.records.data.to_pylist()]
    assert sorted(map(int, seen)) == list(range(2 * count))
    for batch in batches:
        shards = {shard.id: shard for shard in (await client.describe_stream("s")).shards}
        held = shards[batch.shard].hash_range
        for key in batch.records.partition_key.to_pylist():
            assert int.from_bytes(hashlib.md5(key.encode()).digest(), "big") in held
    assert {place.shard for place in places} == {"shardId-000000000001", "shardId-000000000002"}


async def test_unpacking_drops_what_belongs_elsewhere(client: Client, service: Service) -> None:
    """As the KCL does: somebody else's producer puts it again."""
    await client.create_stream("s", 2)
    low, high = ((number).to_bytes(16, "big") for number in (1, HASH_KEY_MAX))
    blob = encode([UserRecord("a", b"low", low), UserRecord("b", b"high", high), UserRecord("c", b"low too", low)])
    await client.put("s", Records.of(["a"], [blob], [low]))
    (batch,) = await read_all(client, "s", 2)
    assert batch.records.data.to_pylist() == [b"low", b"low too"]
    assert batch.sub.tolist() == [0, 2]
    assert HashRange.divide(2)[0].last < HASH_KEY_MAX
