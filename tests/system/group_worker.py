"""A member of a consumer group in a process of its own, to be killed: doubles what it reads into another stream.

python -m tests.system.group_worker URL MEMBER
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

from streams import GroupConsumer, HttpClient, Records
from streams.core.errors import ResourceInUse, ServiceUnavailable


async def work(client: HttpClient, member: str) -> None:
    async with GroupConsumer(client, "in", "doubling", member=member, lease_s=2, size_max=20_000) as group:
        async for batch in group:
            keys = batch.records.partition_key.to_pylist()
            data = batch.records.data.to_pylist()
            # Who lost the shard while it worked, to a slow machine or a server that was away, goes on with the next batch.
            with contextlib.suppress(ResourceInUse):
                await group.put("out", Records.of(keys + keys, data + data))


async def main(url: str, member: str) -> None:
    client = HttpClient(url)
    while True:
        # A server that is away when a member begins is back in a moment: a service manager would start it anew.
        with contextlib.suppress(ServiceUnavailable):
            await work(client, member)
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
