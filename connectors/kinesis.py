"""A stream of any Kinesis endpoint as a source: AWS's own, an emulator's, or another Headrace's, through botocore.

Shards are read by polling, each in its order, as AWS allows it: five reads a second a shard at most.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, SSLError
from botocore.exceptions import ConnectionError as NotConnected

from streams.core.clock import Clock, SystemClock
from streams.core.errors import HeadraceError, ResourceNotFound
from streams.core.shards import HashRange
from streams.sdk.retry import pauses

log = logging.getLogger(__name__)

CALLS_MAX = 32
"""Calls under way at once; shards beyond it wait for their turn."""

POLL_S = 1.0
"""Pause of a shard that has nothing new: AWS's own libraries wait as long."""

READ_S_MIN = 0.2
"""Between two reads of a shard: AWS allows five a second."""

CLOCK_SKEW_MS = 60_000
"""How far the endpoint's clock may be behind ours."""

_RETRIED = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "LimitExceededException",
        "KMSThrottlingException",
        "ThrottlingException",
        "Throttling",
        "RequestLimitExceeded",
        "InternalFailure",
        "InternalFailureException",
        "ServiceUnavailable",
    }
)


class SourceRefused(HeadraceError):
    """The endpoint refuses a call; `code` is its name for the error, empty where it did not answer."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class SourceShard:
    """A shard as the source lists it; `parents` are none, one after a split, two after a merge. One that is not `open` ends."""

    id: str
    parents: tuple[str, ...]
    hash_range: HashRange
    open: bool


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """`number` is the sequence number: it rises within the shard."""

    number: int
    key: str
    data: bytes


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """What one read brought, which may be nothing; `behind_ms`: how much older it is than the newest of its shard."""

    records: list[SourceRecord]
    behind_ms: int


class KinesisSource:
    """The stream named `stream` at a botocore client's endpoint. Close it. What passes by itself (throttling, an endpoint that
    does not answer) is tried again without end; other refusals are raised as `SourceRefused`, `ResourceNotFound`."""

    def __init__(
        self,
        client: Any,
        stream: str,
        *,
        clock: Clock | None = None,
        randomness: random.Random | None = None,
        poll_s: float = POLL_S,
        read_s_min: float = READ_S_MIN,
    ) -> None:
        self._client = client
        self._stream = stream
        self._clock = clock or SystemClock()
        self._randomness = randomness or random.Random()
        self._poll_s = poll_s
        self._read_s_min = read_s_min
        self._pool = ThreadPoolExecutor(CALLS_MAX, "kinesis-source")

    async def created(self) -> float:
        """When the stream was made, seconds since the epoch: another one of its name has another time. Raises at once where
        the endpoint does not answer: so a wrong one is noticed."""
        reply = await self._call("describe_stream_summary", patient=False, StreamName=self._stream)
        made: datetime = reply["StreamDescriptionSummary"]["StreamCreationTimestamp"]
        return made.timestamp()

    async def shards(self) -> list[SourceShard]:
        """All that it lists, open and closed, parents first."""
        found: list[Mapping[str, Any]] = []
        question: dict[str, Any] = {"StreamName": self._stream}
        while True:
            reply = await self._call("list_shards", **question)
            found += reply["Shards"]
            if not reply.get("NextToken"):
                break
            question = {"NextToken": reply["NextToken"]}
        return [
            SourceShard(
                id=shard["ShardId"],
                parents=tuple(shard[name] for name in ("ParentShardId", "AdjacentParentShardId") if name in shard),
                hash_range=HashRange(
                    int(shard["HashKeyRange"]["StartingHashKey"]), int(shard["HashKeyRange"]["EndingHashKey"])
                ),
                open="EndingSequenceNumber" not in shard["SequenceNumberRange"],
            )
            for shard in sorted(found, key=lambda shard: str(shard["ShardId"]))
        ]

    async def read(self, shard: str, *, after: int | None, start_ms: int | None) -> AsyncIterator[SourceBatch]:
        """Batches of the shard behind the record numbered `after`; without one, from `start_ms` or the oldest on. Ends
        where the shard does."""
        iterator = await self._iterator(shard, after, start_ms)
        while iterator is not None:
            try:
                reply = await self._call("get_records", ShardIterator=iterator)
            except SourceRefused as refused:
                if refused.code != "ExpiredIteratorException":
                    raise
                iterator = await self._iterator(shard, after, start_ms)
                continue
            records = [
                SourceRecord(int(one["SequenceNumber"]), one["PartitionKey"], one["Data"]) for one in reply["Records"]
            ]
            behind_ms = reply.get("MillisBehindLatest") or 0
            yield SourceBatch(records, behind_ms)
            if records:
                after = records[-1].number
            iterator = reply.get("NextShardIterator")
            if iterator is not None:
                await self._clock.sleep(self._read_s_min if records or behind_ms else self._poll_s)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _iterator(self, shard: str, after: int | None, start_ms: int | None) -> str:
        if after is not None:
            kind: dict[str, Any] = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": str(after)}
        elif start_ms is not None:
            kind = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": datetime.fromtimestamp(start_ms / 1000, UTC)}
        else:
            kind = {"ShardIteratorType": "TRIM_HORIZON"}
        while True:
            try:
                reply = await self._call("get_shard_iterator", StreamName=self._stream, ShardId=shard, **kind)
            except SourceRefused as refused:
                # A start of just now lies in the future for an endpoint whose clock is behind.
                recent = abs((start_ms or 0) - self._clock.now_ms()) < CLOCK_SKEW_MS
                if refused.code != "InvalidArgumentException" or after is not None or not recent:
                    raise
                await self._clock.sleep(self._poll_s)
                continue
            iterator: str = reply["ShardIterator"]
            return iterator

    async def _call(self, operation: str, *, patient: bool = True, **arguments: Any) -> Any:
        for pause in pauses(self._randomness):
            try:
                call = functools.partial(getattr(self._client, operation), **arguments)
                return await asyncio.get_running_loop().run_in_executor(self._pool, call)
            except ClientError as error:
                told = error.response.get("Error", {})
                code = told.get("Code", "")
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                if code not in _RETRIED and status < 500:
                    raise self._refusal(operation, code, told.get("Message", "")) from error
                log.info(
                    "%s of stream %s is refused, asking again in %.1f s: %s", operation, self._stream, pause, error
                )
            except BotoCoreError as error:
                if not patient or not _passes(error):
                    raise SourceRefused(f"{operation} of stream {self._stream}: {error}") from error
                log.warning("the source does not answer, asking again in %.1f s: %s", pause, error)
            await self._clock.sleep(pause)
        raise AssertionError("pauses never end")

    def _refusal(self, operation: str, code: str, message: str) -> HeadraceError:
        if code == "ResourceNotFoundException":
            return ResourceNotFound(f"the source has no stream {self._stream}: {message}")
        return SourceRefused(f"the source refuses {operation} of stream {self._stream}: {code}: {message}", code)


def _passes(error: BotoCoreError) -> bool:
    """Whether a call that got no answer may get one later."""
    return isinstance(error, HTTPClientError | NotConnected) and not isinstance(error, SSLError)
