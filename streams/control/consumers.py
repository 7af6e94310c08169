"""Decisions about enhanced fan-out consumers, as pure functions."""

from __future__ import annotations

from collections.abc import Mapping

from streams.control.catalog import Catalog
from streams.control.decisions import Decision, busy_until, find_stream, not_active
from streams.control.events import AnyEvent, ConsumerDeregistered, ConsumerGone, ConsumerRegistered
from streams.control.resources import find_consumer
from streams.control.stream import Key, Stream, StreamConsumer
from streams.control.tags import check_tags
from streams.core.errors import LimitExceeded, ResourceInUse

CONSUMERS_MAX = 20
"""Consumers and queues of one stream: AWS's."""

CONSUMERS_ADVANTAGE_MAX = 50
"""The same for an on-demand stream where MinimumThroughputBillingCommitment is ENABLED."""

CREATING_MAX = 5
"""Consumers of one stream that may be CREATING at a time: AWS's."""


def register(
    catalog: Catalog, now_ms: int, key: Key, name: str, tags: Mapping[str, str], create_ms: int
) -> Decision[StreamConsumer]:
    """Raises `ResourceInUse` where the name is taken, `LimitExceeded` where there are too many."""
    stream = find_stream(catalog, key, now_ms)
    if stream.status(now_ms) in ("CREATING", "DELETING"):
        raise not_active(stream, now_ms)
    check_tags(f"consumer {name}", tags, tags)
    if stream.consumer(name, now_ms) is not None:
        raise ResourceInUse(f"Consumer {name} under stream {stream.name} already exists for account {stream.account}.")
    check_consumer_limit(catalog, stream, now_ms)
    if sum(consumer.status(now_ms) == "CREATING" for consumer in stream.consumers) >= CREATING_MAX:
        raise LimitExceeded(
            f"Stream {stream.name} under account {stream.account} has {CREATING_MAX} consumers in state CREATING, the"
            " most that a stream can have at a time."
        )
    events: list[AnyEvent] = [
        ConsumerGone(at_ms=now_ms, id=stream.id, name=name) for old in stream.consumers if old.name == name
    ]
    # Registered again within a second, it would have the ARN of the one before it.
    last_ms = max((old.created_ms for old in stream.consumers if old.name == name), default=0)
    at_ms = max(now_ms, (last_ms // 1000 + 1) * 1000 if last_ms else 0)
    active_ms = busy_until(now_ms, create_ms)
    events.append(ConsumerRegistered(at_ms=at_ms, id=stream.id, name=name, active_ms=active_ms, tags=dict(tags)))
    reply = StreamConsumer(
        stream_arn=stream.arn, name=name, created_ms=at_ms, active_ms=max(active_ms, now_ms + 1), tags=dict(tags)
    )
    return Decision(reply, tuple(events))


def check_consumer_limit(catalog: Catalog, stream: Stream, now_ms: int) -> None:
    """Raises `LimitExceeded` where the stream has as many consumers and queues as it can have."""
    consumers = sum(not consumer.gone(now_ms) for consumer in stream.consumers)
    queues = sum(queue.stream_id == stream.id and not queue.gone(now_ms) for queue in catalog.queues.values())
    account = catalog.accounts.get(stream.scope)
    advantage = stream.on_demand and account is not None and account.ended_ms is None
    if consumers + queues >= (CONSUMERS_ADVANTAGE_MAX if advantage else CONSUMERS_MAX):
        raise LimitExceeded(
            f"Stream {stream.name} under account {stream.account} has {consumers + queues} registered consumers, the most"
            f" that a stream can have."
        )


def deregister(catalog: Catalog, now_ms: int, arn: str, delete_ms: int) -> Decision[None]:
    """DELETING for so long, then gone. Raises `ResourceNotFound`."""
    stream, consumer = find_consumer(catalog, arn, now_ms)
    if delete_ms == 0:
        return Decision(None, (ConsumerGone(at_ms=now_ms, id=stream.id, name=consumer.name),))
    if consumer.gone_ms is not None:
        return Decision(None)
    gone_ms = now_ms + delete_ms
    return Decision(None, (ConsumerDeregistered(at_ms=now_ms, id=stream.id, name=consumer.name, gone_ms=gone_ms),))
