"""The setting `log`, and the names of topics."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.core.clock import SystemClock
from streams.core.errors import SettingsError
from streams.core.settings import Settings
from streams.kafka.address import Address, parse
from streams.kafka.places import place_of, shards_of
from streams.opening import open_log


def test_an_address_is_brokers_a_prefix_and_options() -> None:
    assert parse("kafka://k1:9092") == Address(("k1:9092",))
    full = parse("kafka://k1:9092,10.0.0.2:9093,[::1]:9094/orders?compression=none&replication=3")
    assert full == Address(("k1:9092", "10.0.0.2:9093", "[::1]:9094"), "orders", None, 3)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("/var/data", "nothing:// is not a log"),
        ("redis://k:1", "redis:// is not a log"),
        ("kafka://", "'' is not host:port"),
        ("kafka://k1", "'k1' is not host:port"),
        ("kafka://k1:9092,", "'' is not host:port"),
        ("kafka://k1:9092/a/b", "the prefix 'a/b'"),
        ("kafka://k1:9092/a_b", "the prefix 'a_b'"),
        ("kafka://k1:9092?compression=best", "compression is one of lz4"),
        ("kafka://k1:9092?replication=0", "replication is a number of copies"),
        ("kafka://k1:9092?acks=0", "unknown option 'acks'"),
    ],
)
async def test_an_address_that_is_none_says_why(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="setting log = ") as error:
        await open_log(Settings(log=text), tmp_path, SystemClock())
    assert why in error.value.message


@pytest.mark.parametrize(
    ("shard", "topic", "partition"),
    [
        ("streams/8c1f/shardId-000000000006", "h.streams.8c1f", 6),
        ("control/catalog", "h_control.catalog", 0),
        ("queues/ab-12", "h_queues.ab-12", 0),
    ],
)
def test_a_shard_is_a_partition_and_back(shard: str, topic: str, partition: int) -> None:
    assert place_of("h", shard) == (topic, partition)
    assert shards_of("h", topic, partition + 1)[-1] == shard


def test_topics_of_others_are_no_shards() -> None:
    for topic in ("orders", "__consumer_offsets", "hh.streams.8c1f", "h"):
        assert shards_of("h", topic, 3) == []
