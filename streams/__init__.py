"""Streams: a sharded log that feeds many consumers, and its SDK.

    async with streams.open("./data") as client:              # a log in this process
        await client.create_stream("flights", shards=4)
        async with streams.Producer(client, "flights") as producer:
            await producer.put_batch(dataframe, partition_key="carrier")
        async with streams.Consumer(client, "flights", name="report") as consumer:
            async for batch in consumer:
                ...
                await consumer.checkpoint()

`HttpClient("http://127.0.0.1:4567")` in place of `open` talks to a server; `connect` is the blocking face of either.
Names are imported when they are first used, so that a program pays only for what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streams.core.lazy as homes

if TYPE_CHECKING:
    from streams.connection import connect, open  # noqa: A004 - streams.open, as in gzip.open
    from streams.core.records import Batch, ProducerMark, Records
    from streams.core.scope import Scope
    from streams.core.shards import Shard
    from streams.sdk.blocking import BlockingClient, BlockingConsumer, BlockingGroupConsumer, BlockingProducer
    from streams.sdk.client import LATEST, TRIM_HORIZON, Client, Fetch, Receipt, Start, StreamDescription, at_timestamp
    from streams.sdk.consumer import Consumer
    from streams.sdk.delivery import Sent, Ticket
    from streams.sdk.group import GroupConsumer
    from streams.sdk.http import HttpClient
    from streams.sdk.local import LocalClient
    from streams.sdk.metrics import ProducerMetrics
    from streams.sdk.packing import UnpackedBatch
    from streams.sdk.producer import Producer
    from streams.sdk.tables import read_table

__all__ = [
    "LATEST",
    "TRIM_HORIZON",
    "Batch",
    "BlockingClient",
    "BlockingConsumer",
    "BlockingGroupConsumer",
    "BlockingProducer",
    "Client",
    "Consumer",
    "Fetch",
    "GroupConsumer",
    "HttpClient",
    "LocalClient",
    "Producer",
    "ProducerMark",
    "ProducerMetrics",
    "Receipt",
    "Records",
    "Scope",
    "Sent",
    "Shard",
    "Start",
    "StreamDescription",
    "Ticket",
    "UnpackedBatch",
    "at_timestamp",
    "connect",
    "open",
    "read_table",
]

_HOMES = {
    "streams.connection": ("connect", "open"),
    "streams.core.records": ("Batch", "ProducerMark", "Records"),
    "streams.core.scope": ("Scope",),
    "streams.core.shards": ("Shard",),
    "streams.sdk.blocking": ("BlockingClient", "BlockingConsumer", "BlockingGroupConsumer", "BlockingProducer"),
    "streams.sdk.client": (
        *("LATEST", "TRIM_HORIZON", "Client", "Fetch", "Receipt", "Start", "StreamDescription", "at_timestamp"),
    ),
    "streams.sdk.consumer": ("Consumer",),
    "streams.sdk.delivery": ("Sent", "Ticket"),
    "streams.sdk.group": ("GroupConsumer",),
    "streams.sdk.http": ("HttpClient",),
    "streams.sdk.local": ("LocalClient",),
    "streams.sdk.metrics": ("ProducerMetrics",),
    "streams.sdk.packing": ("UnpackedBatch",),
    "streams.sdk.producer": ("Producer",),
    "streams.sdk.tables": ("read_table",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
__getattr__, __dir__ = homes.lazy(__name__, _HOME)
