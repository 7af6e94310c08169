"""What AWS lets through, for ``limits = "aws"``: per shard on the data plane, per account on the control plane.

A clock and numbers; nothing waits here. Where the limit is "none", the same face lets everything through.
"""

from __future__ import annotations

from collections.abc import Sequence

from streams.core.bucket import TokenBucket
from streams.core.clock import Clock
from streams.core.errors import LimitExceeded, ProvisionedThroughputExceeded
from streams.core.scope import Scope

WRITE_SIZE_MAX = 1 << 20
"""Bytes a second that a shard takes."""

WRITE_RECORDS_MAX = 1000
"""Records a second that a shard takes."""

READ_SIZE_MAX = 2 << 20
"""Bytes a second that a shard gives to all GetRecords, and to each subscribed consumer. One answer may have 10 MiB; the shard
then rests for five seconds."""

READS_MAX = 5
"""GetRecords a second and shard; GetShardIterator likewise."""

CALLS_MAX: dict[str, int] = {
    "AddTagsToStream": 5,
    "CreateStream": 5,
    "DecreaseStreamRetentionPeriod": 5,
    "DeleteStream": 5,
    "DeregisterStreamConsumer": 5,
    "DescribeAccountSettings": 5,
    "DescribeLimits": 1,
    "DescribeStream": 10,
    "DescribeStreamConsumer": 20,
    "DescribeStreamSummary": 20,
    "DisableEnhancedMonitoring": 5,
    "EnableEnhancedMonitoring": 5,
    "IncreaseStreamRetentionPeriod": 5,
    "ListStreamConsumers": 5,
    "ListStreams": 5,
    "ListTagsForStream": 5,
    "MergeShards": 5,
    "RegisterStreamConsumer": 5,
    "RemoveTagsFromStream": 5,
    "SplitShard": 5,
    "StartStreamEncryption": 5,
    "StopStreamEncryption": 5,
    "UpdateAccountSettings": 5,
    "UpdateShardCount": 10,
    "UpdateStreamWarmThroughput": 5,
}
"""Calls a second of an account in a region."""

STREAM_CALLS_MAX: dict[str, int] = {"ListShards": 1000}
"""Calls a second and stream."""

DAILY_MAX: dict[str, int] = {"StartStreamEncryption": 25, "UpdateShardCount": 10, "UpdateStreamMode": 2}
"""Calls a day (rolling) and stream."""

_DAY_S = 86_400

BUCKETS_MAX = 100_000
"""Buckets that are kept; when there are more, the full ones, which say nothing, are dropped."""


class Throttles:
    """`on` is whether limits are "aws". A refusal changes nothing."""

    def __init__(self, clock: Clock, *, on: bool) -> None:
        self.on = on
        self._clock = clock
        self._buckets: dict[tuple[str, str], TokenBucket] = {}

    def call(self, operation: str, scope: Scope, stream: str | None) -> None:
        """One call of a control operation. Raises `LimitExceeded`."""
        if not self.on:
            return
        account = f"{scope.account}/{scope.region}"
        checks = (
            (CALLS_MAX.get(operation), account, None),
            (STREAM_CALLS_MAX.get(operation), f"{account}/{stream}", None),
            (DAILY_MAX.get(operation), f"{account}/{stream}/day", _DAY_S),
        )
        for most, owner, period_s in checks:
            if most is None:
                continue
            bucket = self._bucket(operation, owner, most / (period_s or 1), most)
            if not bucket.take(1, self._clock.now_ms()):
                named = "" if stream is None else f" for stream {stream}"
                raise LimitExceeded(f"Rate exceeded{named} under account {scope.account}.")

    def write(self, log: str, sizes: Sequence[int]) -> list[bool]:
        """Which of the records, each of so many bytes, the shard takes; in their order, each on its own."""
        if not self.on:
            return [True] * len(sizes)
        now_ms = self._clock.now_ms()
        count = self._bucket("write", log, WRITE_RECORDS_MAX)
        volume = self._bucket("write bytes", log, WRITE_SIZE_MAX)
        return [count.left(now_ms) >= 1 and volume.take(size, now_ms) and count.take(1, now_ms) for size in sizes]

    def read(self, log: str, shard: str, stream: str, account: str) -> None:
        """One GetRecords. Raises `ProvisionedThroughputExceeded`."""
        if not self.on:
            return
        now_ms = self._clock.now_ms()
        volume = self._bucket("read bytes", log, READ_SIZE_MAX)
        if volume.left(now_ms) <= 0 or not self._bucket("read", log, READS_MAX).take(1, now_ms):
            raise ProvisionedThroughputExceeded(rate_exceeded(shard, stream, account))

    def gave(self, log: str, size: int) -> None:
        """An answer of so many bytes: beyond what a second allows, the shard owes."""
        if self.on:
            self._bucket("read bytes", log, READ_SIZE_MAX).charge(size, self._clock.now_ms())

    def push_wait_s(self, consumer: str, log: str) -> float:
        """How long a subscription must wait before its next event; 0 if not at all."""
        if not self.on:
            return 0.0
        left = self._bucket(f"push {consumer}", log, READ_SIZE_MAX).left(self._clock.now_ms())
        return 0.0 if left > 0 else max(-left / READ_SIZE_MAX, 0.001)

    def pushed(self, consumer: str, log: str, size: int) -> None:
        """An event of so many bytes."""
        if self.on:
            self._bucket(f"push {consumer}", log, READ_SIZE_MAX).charge(size, self._clock.now_ms())

    def iterate(self, log: str, shard: str, stream: str, account: str) -> None:
        """One GetShardIterator. Raises `ProvisionedThroughputExceeded`."""
        if self.on and not self._bucket("iterate", log, READS_MAX).take(1, self._clock.now_ms()):
            raise ProvisionedThroughputExceeded(rate_exceeded(shard, stream, account))

    def _bucket(self, what: str, owner: str, rate: float, size: float | None = None) -> TokenBucket:
        now_ms = self._clock.now_ms()
        bucket = self._buckets.get((what, owner))
        if bucket is None:
            if len(self._buckets) >= BUCKETS_MAX:
                self._buckets = {key: one for key, one in self._buckets.items() if not one.full(now_ms)}
            bucket = self._buckets[what, owner] = TokenBucket(rate, now_ms, size)
        return bucket


def rate_exceeded(shard: str, stream: str, account: str) -> str:
    """AWS's words for a shard that has had enough."""
    return f"Rate exceeded for shard {shard} in stream {stream} under account {account}."
