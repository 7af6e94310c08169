from __future__ import annotations

import asyncio
import json
import os

from streams import GroupConsumer, HttpClient
from tests.cli.cli_server import Headrace


def test_groups_are_shown_and_forgotten(headrace: Headrace, stream: str) -> None:
    assert "no consumer group" in headrace("stream", "groups", stream).stderr
    for _ in range(3):
        headrace("put", stream, "--key", "k", stdin="a\nb\n")

    async def read() -> None:
        client = HttpClient(os.environ["HEADRACE_ENDPOINT"])
        async with GroupConsumer(client, stream, "billing", member="one", size_max=1) as group:
            async for _ in group:
                break
            shown = await asyncio.to_thread(headrace, "stream", "groups", stream)
            assert shown.stdout.count("billing") == 2
            assert "one" in shown.stdout
        await client.close()

    asyncio.run(read())
    (group,) = json.loads(headrace("stream", "groups", stream, "--json").stdout)
    assert group["members"] == []
    assert [shard["member"] for shard in group["shards"]] == [None, None]
    assert "is forgotten" in headrace("stream", "groups", stream, "--forget", "billing").stderr
    again = headrace("stream", "groups", stream, "--forget", "billing")
    assert again.exit_code == 1
    assert f"Consumer group billing of stream {stream} not found" in again.stderr
    assert headrace("stream", "groups", "absent").exit_code == 1
