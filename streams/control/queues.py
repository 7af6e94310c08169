"""Decisions about queues, as pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from streams.control.catalog import Catalog
from streams.control.consumers import check_consumer_limit
from streams.control.decisions import Decision, busy_until, find_stream, not_active
from streams.control.events import QueueChanged, QueueCreated, QueueDeleted, QueueGone
from streams.control.queue import Position, Queue, QueueAttributes
from streams.control.resources import find_queue
from streams.control.stream import Key
from streams.control.tags import check_tags
from streams.core.errors import ResourceInUse, ValidationError
from streams.core.scope import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class NewQueue:
    """What CreateQueue asks for. `id` is fresh; `starts` as in `Queue`."""

    scope: Scope
    name: str
    id: str
    stream: Key
    position: Position
    start_ms: int
    starts: Mapping[int, int]
    attributes: QueueAttributes
    tags: Mapping[str, str]


def queues_of(catalog: Catalog, stream_id: str, now_ms: int) -> Iterator[Queue]:
    return (one for one in catalog.queues.values() if one.stream_id == stream_id and not one.gone(now_ms))


def create_queue(catalog: Catalog, now_ms: int, new: NewQueue, create_ms: int) -> Decision[Queue]:
    """Raises `ResourceInUse` where the name is taken or the stream is not ACTIVE, `ValidationError` for a provisioned
    stream, `LimitExceeded` where the stream has too many consumers."""
    stream = find_stream(catalog, new.stream, now_ms)
    if stream.status(now_ms) in ("CREATING", "DELETING"):
        raise not_active(stream, now_ms)
    if not stream.on_demand:
        raise ValidationError(
            f"Queues are only supported on data streams in On-Demand mode. Stream {stream.name} under account"
            f" {stream.account} is in Provisioned mode."
        )
    for other in catalog.queues.values():
        if (other.name, other.scope) == (new.name, new.scope) and not other.gone(now_ms):
            raise ResourceInUse(f"Queue {new.name} under account {new.scope.account} already exists.")
    check_tags(f"queue {new.name}", new.tags, new.tags)
    check_consumer_limit(catalog, stream, now_ms)
    event = QueueCreated(
        at_ms=now_ms,
        account=new.scope.account,
        region=new.scope.region,
        name=new.name,
        id=new.id,
        stream=stream.id,
        position=new.position,
        start_ms=max(new.start_ms, stream.created_ms, stream.horizon_ms(now_ms)),
        starts=dict(new.starts),
        attributes=new.attributes,
        active_ms=busy_until(now_ms, create_ms),
        tags=dict(new.tags),
    )
    reply = event.queue(stream)
    return Decision(reply, (event,), (reply.log,))


def update_queue(
    catalog: Catalog, now_ms: int, arn: str, attributes: Mapping[str, int | None], update_ms: int
) -> Decision[Queue]:
    """`attributes` are the fields of `QueueAttributes` that change. Raises `ResourceInUse` where it is not ACTIVE."""
    queue = find_queue(catalog, arn, now_ms)
    if queue.status(now_ms) != "ACTIVE":
        raise ResourceInUse(f"Queue {arn} not ACTIVE, instead in state {queue.status(now_ms)}")
    changed = msgspec.structs.replace(queue.attributes, **attributes)
    active_ms = busy_until(now_ms, update_ms)
    reply = msgspec.structs.replace(queue, attributes=changed, busy="UPDATING", busy_ms=active_ms)
    return Decision(reply, (QueueChanged(at_ms=now_ms, id=queue.id, attributes=changed, active_ms=active_ms),))


def delete_queue(catalog: Catalog, now_ms: int, arn: str, delete_ms: int) -> Decision[Queue]:
    """DELETING for so long, then gone."""
    queue = find_queue(catalog, arn, now_ms)
    if delete_ms == 0:
        return Decision(queue, (QueueGone(at_ms=now_ms, id=queue.id),))
    if queue.gone_ms is not None:
        return Decision(queue)
    return Decision(queue, (QueueDeleted(at_ms=now_ms, id=queue.id, gone_ms=now_ms + delete_ms),))
