"""What AWS lets through, for ``limits = "aws"``: per delivery stream on the data plane, per account on the control plane.

A clock and numbers; nothing waits here. Where the limit is "none", the same face lets everything through.
"""

from __future__ import annotations

from dataclasses import dataclass

from streams.core.bucket import TokenBucket
from streams.core.clock import Clock
from streams.core.errors import Throttling
from streams.core.scope import Scope

CALLS_MAX = 5
"""Calls a second of each control operation, for an account in a region."""

CONTROL = frozenset(
    {
        "CreateDeliveryStream",
        "DeleteDeliveryStream",
        "DescribeDeliveryStream",
        "ListDeliveryStreams",
        "ListTagsForDeliveryStream",
        "StartDeliveryStreamEncryption",
        "StopDeliveryStreamEncryption",
        "TagDeliveryStream",
        "UntagDeliveryStream",
        "UpdateDestination",
    }
)


@dataclass(frozen=True, slots=True)
class Throughput:
    """A delivery stream's: MiB, requests and records a second, which AWS raises together."""

    mib: int
    requests: int
    records: int


LARGE_REGIONS = frozenset({"us-east-1", "us-west-2", "eu-west-1"})
LARGE = Throughput(5, 2_000, 500_000)
SMALL = Throughput(1, 1_000, 100_000)


def throughput(region: str, hint_mib: int | None) -> Throughput:
    """What a delivery stream takes a second; one whose hint asks for more takes in proportion."""
    usual = LARGE if region in LARGE_REGIONS else SMALL
    if hint_mib is None or hint_mib <= usual.mib:
        return usual
    return Throughput(hint_mib, usual.requests * hint_mib // usual.mib, usual.records * hint_mib // usual.mib)


class Quotas:
    """`on` is whether limits are "aws". A refusal changes nothing."""

    def __init__(self, clock: Clock, *, on: bool) -> None:
        self._on = on
        self._clock = clock
        self._calls: dict[tuple[str, str], TokenBucket] = {}
        self._streams: dict[int, tuple[TokenBucket, TokenBucket, TokenBucket]] = {}

    def call(self, operation: str, scope: Scope) -> None:
        """One call of an operation. Raises `Throttling`."""
        if not self._on or operation not in CONTROL:
            return
        now_ms, key = self._clock.now_ms(), (operation, f"{scope.account}/{scope.region}")
        bucket = self._calls.setdefault(key, TokenBucket(CALLS_MAX, now_ms))
        if not bucket.take(1, now_ms):
            raise Throttling("Rate exceeded")

    def put(self, number: int, taken: Throughput, records: int, size: int) -> bool:
        """Whether delivery stream `number` takes a request of so many records and bytes now: all of it or nothing."""
        if not self._on:
            return True
        now_ms = self._clock.now_ms()
        if number not in self._streams:
            rates = (taken.mib << 20, taken.requests, taken.records)
            volume, requests, counted = (TokenBucket(rate, now_ms) for rate in rates)
            self._streams[number] = volume, requests, counted
        volume, requests, counted = self._streams[number]
        if requests.left(now_ms) < 1 or counted.left(now_ms) < records or not volume.take(size, now_ms):
            return False
        requests.charge(1, now_ms)
        counted.charge(records, now_ms)
        return True

    def forget(self, number: int) -> None:
        """That delivery stream is gone."""
        self._streams.pop(number, None)
