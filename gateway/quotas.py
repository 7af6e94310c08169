"""How much a caller may ask: requests and bytes a second, by access key."""

from __future__ import annotations

from gateway.principals import Principal
from streams.core.bucket import TokenBucket
from streams.core.clock import Clock
from streams.core.errors import (
    LimitExceeded,
    ProvisionedThroughputExceeded,
    RequestError,
    ServiceUnavailable,
    Throttling,
)

_KINDS: dict[str, type[RequestError]] = {
    **dict.fromkeys(
        ("kinesis:PutRecord", "kinesis:PutRecords", "kinesis:GetRecords", "kinesis:GetShardIterator"),
        ProvisionedThroughputExceeded,
    ),
    **dict.fromkeys(("firehose:PutRecord", "firehose:PutRecordBatch"), ServiceUnavailable),
}
"""What an operation's own model has for it, so that its SDK tries again; others get what control operations have."""


class Quotas:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[Principal, TokenBucket | None, TokenBucket | None]] = {}

    def take(self, principal: Principal, action: str, size: int) -> None:
        """One request with so many bytes of body. Raises a request error that may be tried again."""
        if principal.requests_per_s is None and principal.bytes_per_s is None:
            return
        now_ms = self._clock.now_ms()
        known = self._buckets.get(principal.access_key)
        if known is None or known[0] is not principal:
            known = self._buckets[principal.access_key] = (
                principal,
                _bucket(principal.requests_per_s, now_ms),
                _bucket(principal.bytes_per_s, now_ms),
            )
        _, requests, sizes = known
        if sizes is not None and sizes.left(now_ms) < min(size, sizes.size):
            raise _exceeded(action, f"{principal.arn} may send {sizes.rate / (1 << 20):g} MiB a second.")
        if requests is not None and not requests.take(1, now_ms):
            raise _exceeded(action, f"{principal.arn} may send {requests.rate:g} requests a second.")
        if sizes is not None:
            sizes.charge(size, now_ms)


def _bucket(rate: float | None, now_ms: int) -> TokenBucket | None:
    """A rate below one a second still lets one through now and then."""
    return None if rate is None else TokenBucket(rate, now_ms, max(rate, 1.0))


def _exceeded(action: str, what: str) -> RequestError:
    kind = _KINDS.get(action) or (Throttling if "Queue" in action or action.startswith("native:") else LimitExceeded)
    return kind(f"Rate exceeded for the caller: {what}")
