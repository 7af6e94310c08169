"""The flights go in through the Kinesis protocol, with an SDK as anybody has it: boto3's PutRecords."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import botocore.config

_BATCH = 500
"""Records of a PutRecords, the most that it takes."""
_RETRIES = 10
_RETRY_PAUSE_S = 0.1
_CONFIG = botocore.config.Config(retries={"total_max_attempts": 5}, max_pool_connections=1)

Entry = dict[str, Any]


def client(service: str, endpoint: str) -> Any:
    """A boto3 client of the server. The keys are any: the demo's server checks no signatures."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="demo",
        aws_secret_access_key="demo",
        config=_CONFIG,
    )


def put(
    endpoint: str,
    stream: str,
    keys: Sequence[str],
    data: Sequence[bytes],
    advance: Callable[[int], None],
    begun: threading.Event,
) -> Counter[str]:
    """Puts all records and counts the acknowledged ones by the shard that the server named.

    One thread for each shard puts what belongs there in the order given, so that order is kept within a shard while the
    shards race each other. `advance` is told of every acknowledged batch, from any of the threads; `begun` is set when
    every shard that gets records has some.
    """
    shards = client("kinesis", endpoint).list_shards(StreamName=stream)["Shards"]
    ends = {shard["ShardId"]: int(shard["HashKeyRange"]["EndingHashKey"]) for shard in shards}
    home = {key: min((end, shard) for shard, end in ends.items() if _hash(key) <= end)[1] for key in set(keys)}
    parts: dict[str, list[Entry]] = {shard: [] for shard in ends}
    for key, blob in zip(keys, data, strict=True):
        parts[home[key]].append({"Data": blob, "PartitionKey": key})
    with ThreadPoolExecutor(len(parts)) as pool:

        def put_all(pieces: list[list[Entry]]) -> list[Counter[str]]:
            return list(pool.map(lambda piece: _put_in_order(endpoint, stream, piece, advance), pieces))

        counts = put_all([part[:_BATCH] for part in parts.values()])
        begun.set()
        counts += put_all([part[_BATCH:] for part in parts.values()])
    return sum(counts, Counter())


def _put_in_order(endpoint: str, stream: str, entries: list[Entry], advance: Callable[[int], None]) -> Counter[str]:
    kinesis = client("kinesis", endpoint)
    acknowledged: Counter[str] = Counter()
    for first in range(0, len(entries), _BATCH):
        left = entries[first : first + _BATCH]
        for _ in range(_RETRIES):
            results = kinesis.put_records(StreamName=stream, Records=left)["Records"]
            acknowledged.update(result["ShardId"] for result in results if "ErrorCode" not in result)
            left = [entry for entry, result in zip(left, results, strict=True) if "ErrorCode" in result]
            if not left:
                break
            time.sleep(_RETRY_PAUSE_S)
        else:
            raise RuntimeError(f"{len(left)} records were refused {_RETRIES} times")
        advance(min(_BATCH, len(entries) - first))
    return acknowledged


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest(), "big")
