"""Records age out under a consumer that stands still: it goes on with what is left."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from gateway.app import App
from streams import TRIM_HORIZON, Consumer, HttpClient
from streams.core.clock import ManualClock
from streams.core.records import Records
from streams.core.settings import Settings

SHARD = "shardId-000000000000"


async def test_a_consumer_that_stopped_goes_on_behind_what_has_aged_out(kafka_url: str, tmp_path: Path) -> None:
    """It had read two of five records; a day and an hour later one process trims what is older than a day, and another one
    answers it."""
    clock = ManualClock()
    one, other = [
        await App.start(Settings(data=str(tmp_path / name), port=0, log=kafka_url, work=False), clock=clock)
        for name in ("one", "other")
    ]
    client, behind = HttpClient(one.url), HttpClient(other.url)
    await client.create_stream("s", retention_hours=24)
    await client.put("s", Records.of(["k"] * 5, [b"%d" % number for number in range(5)]))
    await client.save_checkpoint("s", "c", {SHARD: 2})
    clock.advance(25 * 3600)
    await client.put("s", Records.of(["k"], [b"young"]))
    log: Any = one.service._context.log
    stream = one.service.visible_streams()[0].log(one.service.visible_streams()[0].shards[0])
    async with asyncio.timeout(60):
        while (await log.bounds(stream))[0] == 0:
            clock.advance(60)
            await asyncio.sleep(0.05)
    found = []
    async with asyncio.timeout(60), Consumer(behind, "s", name="c", start=TRIM_HORIZON) as consumer:
        async for batch in consumer:
            found += batch.records.data.to_pylist()
            break
    assert found == [b"young"]
    for each in (client, behind):
        await each.close()
    for app in (one, other):
        await app.stop()
