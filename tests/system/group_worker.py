"""A member of a consumer group in a process of its own, to be killed: doubles what it reads into another stream.

python -m tests.system.group_worker URL MEMBER
"""

from __future__ import annotations

import asyncio
import sys

from streams import GroupConsumer, HttpClient, Records


async def main(url: str, member: str) -> None:
    client = HttpClient(url)
    async with GroupConsumer(client, "in", "doubling", member=member, lease_s=2, size_max=20_000) as group:
        async for batch in group:
            keys = batch.records.partition_key.to_pylist()
            data = batch.records.data.to_pylist()
            await group.put("out", Records.of(keys + keys, data + data))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
