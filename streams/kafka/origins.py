"""Where shards began before they came into Kafka: a copied shard's first offset, which is Kafka's 0.

    offset of the log = origin of the shard + offset in Kafka

A partition begins at 0 and cannot be told to begin elsewhere, while a log that has aged begins where its oldest record is.
So a copy notes its origins in a topic of its own, `PREFIX_origins`, before it puts anything: one record, and another one
when it is done. Whoever opens the log reads the last of them. A log that is no copy has no such topic, and all origins 0.
"""

from __future__ import annotations

import msgspec

from streams.core.errors import LogError
from streams.core.records import Records
from streams.kafka.cluster import EARLIEST, LATEST, Cluster
from streams.kafka.codec import decode, plain
from streams.kafka.places import ORIGINS, origins_place
from streams.kafka.producers import Producers


class Origins(msgspec.Struct, frozen=True, omit_defaults=True):
    """`source` is what was copied, `copying` whether it still is; `firsts` the offsets at which its shards begin."""

    source: str
    copying: bool
    firsts: dict[str, int] = {}

    def of(self, shard: str) -> int:
        return self.firsts.get(shard, 0)


NONE = Origins("", False)


async def read(cluster: Cluster, prefix: str) -> Origins:
    """Those of the log, as they were written last. Raises `LogError`."""
    at = origins_place(prefix)
    if not cluster.partitions(at.topic):
        return NONE
    first, next_ = await cluster.offset(at, EARLIEST), await cluster.offset(at, LATEST)
    if first == next_:
        return NONE
    fetched = await cluster.fetch(at, next_ - 1, 1 << 20)
    parts = list(decode(fetched.data, ORIGINS))
    try:
        return msgspec.json.decode(parts[-1].records.data[-1].as_py(), type=Origins)
    except msgspec.DecodeError as error:
        raise LogError(f"the topic {at.topic} does not hold what a copy writes there: {error}") from error


async def write(producers: Producers, prefix: str, origins: Origins, now_ms: int) -> None:
    """Durable when it returns."""
    record = Records.of([ORIGINS], [msgspec.json.encode(origins)])
    await producers.send(plain(record, now_ms, [], producers.compression), origins_place(prefix))
