"""The records of a queue: received, acknowledged, postponed; and the same of its dead letters, which can be restored.

handle  = token of purpose "q" (see tokens.py) over
payload = number shard offset id
number  = 8 bytes, big-endian           ; which delivery of the record
shard   = 4 bytes, big-endian           ; its index
offset  = 8 bytes, big-endian
id      = *24 bytes                     ; of the queue
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from streams.control.queue import Queue
from streams.control.resources import find_queue
from streams.core.errors import ResourceNotFound
from streams.core.scope import Scope
from streams.core.shards import shard_id
from streams.operations.context import Context
from streams.operations.queueing import dispatcher_of
from streams.queues.dispatcher import Handle, Refusal
from streams.queues.supply import Given

LIMIT = 10
WAIT_S = 9
"""AWS's, where a request says nothing."""

_PURPOSE = b"q"
_LAYOUT = struct.Struct(">QIQ")

Change = Callable[[Sequence[Handle], Sequence[Any]], Coroutine[Any, Any, list[Refusal | None]]]


async def receive_queue_records(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    return await _receive(context, request, dead=False)


async def receive_dead_letter_queue_records(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    return await _receive(context, request, dead=True)


async def acknowledge_queue_records(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    queue = _delivering(context, request)
    dispatcher = await dispatcher_of(context, queue)
    return await _each(context, queue, request, lambda handles, _: dispatcher.acknowledge(handles, dead=False))


async def acknowledge_dead_letter_queue_records(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    queue = _delivering(context, request)
    dispatcher = await dispatcher_of(context, queue)
    return await _each(context, queue, request, lambda handles, _: dispatcher.acknowledge(handles, dead=True))


async def update_queue_records_visibility(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    return await _postpone(context, request, dead=False)


async def update_dead_letter_queue_records_visibility(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    return await _postpone(context, request, dead=True)


async def restore_dead_letter_queue_records(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    queue = _delivering(context, request)
    dispatcher = await dispatcher_of(context, queue)
    return await _each(context, queue, request, lambda handles, _: dispatcher.restore(handles))


async def _receive(context: Context, request: Any, dead: bool) -> dict[str, Any]:
    queue = _delivering(context, request)
    dispatcher = await dispatcher_of(context, queue)
    wait_s = WAIT_S if request.wait_time_seconds is None else request.wait_time_seconds
    visibility_s = request.visibility_timeout_seconds
    given = await dispatcher.receive(
        LIMIT if request.limit is None else request.limit,
        wait_s * 1000,
        None if visibility_s is None else visibility_s * 1000,
        dead,
    )
    _count(context, queue, given)
    return {"QueueRecords": [_reply(context, queue, one) for one in given]}


async def _postpone(context: Context, request: Any, dead: bool) -> dict[str, Any]:
    queue = _delivering(context, request)
    dispatcher = await dispatcher_of(context, queue)

    async def postpone(handles: Sequence[Handle], entries: Sequence[Any]) -> list[Refusal | None]:
        return await dispatcher.postpone(handles, [one.visibility_timeout_seconds * 1000 for one in entries], dead)

    return await _each(context, queue, request, postpone)


def _delivering(context: Context, request: Any) -> Queue:
    """Raises `ResourceNotFound` while it does not deliver: it is not ACTIVE or UPDATING."""
    queue = find_queue(context.catalog, request.queue_arn, context.now_ms())
    status = queue.status(context.now_ms())
    if status in ("CREATING", "DELETING"):
        raise ResourceNotFound(f"Queue {queue.arn} not ACTIVE, instead in state {status}")
    return queue


async def _each(context: Context, queue: Queue, request: Any, change: Change) -> dict[str, Any]:
    """What became of each entry. One that is no handle of this queue fails, and the others do not suffer for it."""
    handles: list[Handle] = []
    entries: list[Any] = []
    failed = []
    for entry in request.entries:
        handle = _open(context, queue, entry.receipt_handle)
        if handle is None:
            failed.append(
                _failure(entry, "InvalidArgumentException", "The receipt handle is not valid for this queue.")
            )
        else:
            handles.append(handle)
            entries.append(entry)
    successful = []
    for entry, refusal in zip(entries, await change(handles, entries) if handles else (), strict=True):
        if refusal is None:
            successful.append({"ReceiptHandle": entry.receipt_handle})
        else:
            failed.append(_failure(entry, *refusal))
    return {"Successful": successful, "Failed": failed}


def _failure(entry: Any, code: str, message: str) -> dict[str, Any]:
    return {"ReceiptHandle": entry.receipt_handle, "ErrorCode": code, "ErrorMessage": message}


def _seal(context: Context, queue: Queue, given: Given) -> str:
    return context.tokens.seal(_PURPOSE, _LAYOUT.pack(given.number, given.shard, given.offset) + queue.id.encode())


def _open(context: Context, queue: Queue, text: str) -> Handle | None:
    payload = context.tokens.open(_PURPOSE, text)
    if payload is None or payload[_LAYOUT.size :] != queue.id.encode():
        return None
    number, shard, offset = _LAYOUT.unpack_from(payload)
    return Handle(shard, offset, number)


def _reply(context: Context, queue: Queue, given: Given) -> dict[str, Any]:
    return {
        "ReceiptHandle": _seal(context, queue, given),
        "RecordId": f"{given.shard:08x}{given.offset:016x}",
        "PartitionKey": given.key,
        "Data": given.data,
        "ApproximateArrivalTimestamp": given.arrival_ms / 1000,
        "FirstReceiveTimestamp": given.first_ms / 1000,
        "ReceiveCount": given.receives,
    }


def _count(context: Context, queue: Queue, given: list[Given]) -> None:
    stream = context.catalog.by_id(queue.stream_id)
    if stream is None:
        return
    by_shard: dict[int, list[Given]] = defaultdict(list)
    for one in given:
        by_shard[one.shard].append(one)
    for shard, there in by_shard.items():
        size = sum(len(one.data) + len(one.key) for one in there)
        behind_ms = max(0, context.now_ms() - there[-1].arrival_ms)
        context.metrics.got(stream, shard_id(shard), len(there), size, behind_ms)
