"""Decisions that change how a stream is kept, as pure functions: retention, sizes, modes, encryption, monitoring.

`update_ms` is how long the stream is then UPDATING. Each raises `ResourceNotFound`, and `ResourceInUse` for a stream that
is not ACTIVE.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from streams.control.catalog import Catalog
from streams.control.decisions import Decision, busy_until, find_stream, not_active
from streams.control.events import StreamChanged
from streams.control.stream import Key, Stream
from streams.core.errors import InvalidArgument, ResourceInUse, ValidationError
from streams.core.scope import Scope

RETENTION_MIN, RETENTION_MAX = 24, 8760
"""Hours that a stream may keep its records."""

WARM_MAX = 10 << 10
"""MiB/s of warm throughput: AWS's."""

METRICS = (
    "IncomingBytes",
    "IncomingRecords",
    "IteratorAgeMilliseconds",
    "OutgoingBytes",
    "OutgoingRecords",
    "ReadProvisionedThroughputExceeded",
    "WriteProvisionedThroughputExceeded",
)
"""What enhanced monitoring counts; ALL is all of them."""

Distribution = Literal["AUTO", "USER_PARTITION_KEY"]


def change_retention(
    catalog: Catalog, now_ms: int, key: Key, hours: int, longer: bool, update_ms: int
) -> Decision[None]:
    """`longer` is IncreaseStreamRetentionPeriod; as long as before is no change in either direction."""
    stream = _active(catalog, now_ms, key)
    if hours < RETENTION_MIN:
        raise InvalidArgument(
            f"Minimum allowed retention period is {RETENTION_MIN} hours. Requested retention period ({hours} hours) is too"
            " short."
        )
    if hours > RETENTION_MAX:
        raise InvalidArgument(
            f"Maximum allowed retention period is {RETENTION_MAX} hours. Requested retention period ({hours} hours) is too"
            " long."
        )
    now = stream.retention_hours
    if longer and hours < now:
        raise InvalidArgument(
            f"Requested retention period ({hours} hours) for stream {stream.name} can not be shorter than existing"
            f" retention period ({now} hours). Use DecreaseRetentionPeriod API."
        )
    if not longer and hours > now:
        raise InvalidArgument(
            f"Requested retention period ({hours} hours) for stream {stream.name} can not be longer than existing"
            f" retention period ({now} hours). Use IncreaseRetentionPeriod API."
        )
    if hours == now:
        return Decision(None)
    return _changed(stream, now_ms, update_ms, retention_hours=hours)


def change_record_size(catalog: Catalog, now_ms: int, key: Key, size_kib: int, update_ms: int) -> Decision[None]:
    """Holds for the records that come; those that are there stay."""
    return _changed(_active(catalog, now_ms, key), now_ms, update_ms, record_size_max_kib=size_kib)


def encrypt(catalog: Catalog, now_ms: int, key: Key, key_id: str, update_ms: int) -> Decision[None]:
    """Records that come are said to be encrypted with `key_id`; empty: they are not."""
    return _changed(_active(catalog, now_ms, key), now_ms, update_ms, key_id=key_id)


def monitor(
    catalog: Catalog, now_ms: int, key: Key, metrics: Collection[str], on: bool
) -> Decision[tuple[Stream, list[str], list[str]]]:
    """Enhanced monitoring of `metrics` begins or ends. The stream, what was counted, and what now is."""
    stream = find_stream(catalog, key, now_ms)
    asked = set(METRICS) if "ALL" in metrics else set(metrics)
    before = set(stream.metrics)
    after = before | asked if on else before - asked
    events = () if after == before else (StreamChanged(at_ms=now_ms, id=stream.id, metrics=tuple(sorted(after))),)
    return Decision((stream, sorted(before), sorted(after)), events)


def change_mode(
    catalog: Catalog, now_ms: int, key: Key, on_demand: bool, warm_mibps: int | None, update_ms: int
) -> Decision[None]:
    """The shards stay as they are."""
    stream = _active(catalog, now_ms, key)
    if not on_demand and any(one.stream_id == stream.id and not one.gone(now_ms) for one in catalog.queues.values()):
        raise ResourceInUse(
            f"Stream {stream.name} under account {stream.account} has queues, which are only supported in On-Demand mode."
            " Delete them first."
        )
    check_warm(catalog, stream.scope, on_demand, warm_mibps)
    return _changed(
        stream,
        now_ms,
        update_ms,
        on_demand=on_demand,
        warm_mibps=warm_mibps if on_demand else -1,
        distribution=None if on_demand else "USER_PARTITION_KEY",
    )


def warm(catalog: Catalog, now_ms: int, key: Key, warm_mibps: int, update_ms: int) -> Decision[Stream]:
    """The stream as it was."""
    stream = _active(catalog, now_ms, key)
    check_warm(catalog, stream.scope, stream.on_demand, warm_mibps)
    decision = _changed(stream, now_ms, update_ms, warm_mibps=warm_mibps)
    return Decision(stream, decision.events)


def distribute(catalog: Catalog, now_ms: int, key: Key, distribution: Distribution, update_ms: int) -> Decision[None]:
    """AUTO: the service spreads records over the shards, whatever their partition keys. On-demand streams only."""
    stream = _active(catalog, now_ms, key)
    check_distribution(stream.on_demand, distribution)
    return _changed(stream, now_ms, update_ms, distribution=distribution)


def check_distribution(on_demand: bool, distribution: str | None) -> None:
    if distribution == "AUTO" and not on_demand:
        raise InvalidArgument("RecordDistributionStrategy AUTO is only supported for streams in On-Demand mode.")


def check_warm(catalog: Catalog, scope: Scope, on_demand: bool, warm_mibps: int | None) -> None:
    """Raises `ValidationError` where warm throughput may not be asked for."""
    if not warm_mibps:
        return
    if not on_demand:
        raise ValidationError("WarmThroughputMiBps is only supported for streams in On-Demand mode.")
    if warm_mibps > WARM_MAX:
        raise ValidationError(f"WarmThroughputMiBps {warm_mibps} is more than {WARM_MAX}, the most for a stream.")
    account = catalog.accounts.get(scope)
    if account is None or account.ended_ms is not None:
        raise ValidationError(
            f"Warm throughput needs MinimumThroughputBillingCommitment ENABLED for the account {scope.account} in"
            f" {scope.region}: see UpdateAccountSettings."
        )


def _active(catalog: Catalog, now_ms: int, key: Key) -> Stream:
    stream = find_stream(catalog, key, now_ms)
    if stream.status(now_ms) != "ACTIVE":
        raise not_active(stream, now_ms)
    return stream


def _changed(stream: Stream, now_ms: int, update_ms: int, **fields: object) -> Decision[None]:
    event = StreamChanged(at_ms=now_ms, id=stream.id, active_ms=busy_until(now_ms, update_ms), **fields)  # type: ignore[arg-type]  # the callers above name its fields
    return Decision(None, (event,))
