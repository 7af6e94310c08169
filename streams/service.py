"""`Service`: streams, whole. Kinesis operations by name through `call`; our own clients' methods beside it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from hashlib import blake2b
from typing import Any, TypeVar

from streams.control.checkpoints import Checkpoints
from streams.control.controller import Controller
from streams.control.resources import find_queue
from streams.control.stream import Stream
from streams.core.clock import Clock, SystemClock
from streams.core.errors import (
    InternalFailure,
    JournalMoved,
    LogClosed,
    LogFull,
    LogUnreachable,
    ResourceNotFound,
    ServiceUnavailable,
    ShardClosed,
    ShardUnknown,
    UnsupportedOperation,
)
from streams.core.exchange import (
    FETCH_SIZE_MAX,
    Fetch,
    GroupDescription,
    Lease,
    Progress,
    Receipt,
    Start,
    StreamDescription,
)
from streams.core.records import ProducerMark, Records
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.core.work import ALONE, Work, groups_item, queue_item
from streams.log.log import Log
from streams.operations import (
    accounts,
    alterations,
    channels,
    consumers,
    fetching,
    groups,
    iterators,
    native,
    policies,
    queue_records,
    queues,
    records,
    shards,
    streams,
    subscriptions,
    tags,
)
from streams.operations.addressing import stream_named
from streams.operations.context import Context
from streams.operations.metrics import Counts
from streams.operations.resource import resource_arn
from streams.operations.retention import Janitor
from streams.operations.scaling import Scaler

A = TypeVar("A")

Operation = Callable[[Context, Any, Scope], Awaitable[Any]]

OPERATIONS: dict[str, Operation] = {
    "AcknowledgeDeadLetterQueueRecords": queue_records.acknowledge_dead_letter_queue_records,
    "AcknowledgeQueueRecords": queue_records.acknowledge_queue_records,
    "AddTagsToStream": tags.add_tags_to_stream,
    "CreateChannel": channels.refuse_channel,
    "CreateQueue": queues.create_queue,
    "CreateStream": streams.create_stream,
    "DecreaseStreamRetentionPeriod": alterations.decrease_stream_retention_period,
    "DeleteChannel": channels.refuse_channel,
    "DeleteQueue": queues.delete_queue,
    "DeleteResourcePolicy": policies.delete_resource_policy,
    "DeleteStream": streams.delete_stream,
    "DeregisterStreamConsumer": consumers.deregister_stream_consumer,
    "DescribeAccountSettings": accounts.describe_account_settings,
    "DescribeChannel": channels.refuse_channel,
    "DescribeLimits": accounts.describe_limits,
    "DescribeQueue": queues.describe_queue,
    "DescribeStream": streams.describe_stream,
    "DescribeStreamConsumer": consumers.describe_stream_consumer,
    "DescribeStreamSummary": streams.describe_stream_summary,
    "DisableEnhancedMonitoring": alterations.disable_enhanced_monitoring,
    "EnableEnhancedMonitoring": alterations.enable_enhanced_monitoring,
    "GetRecords": records.get_records,
    "GetResourcePolicy": policies.get_resource_policy,
    "GetShardIterator": iterators.get_shard_iterator,
    "IncreaseStreamRetentionPeriod": alterations.increase_stream_retention_period,
    "ListChannels": channels.refuse_channel,
    "ListQueues": queues.list_queues,
    "ListShards": shards.list_shards,
    "ListStreamConsumers": consumers.list_stream_consumers,
    "ListStreams": streams.list_streams,
    "ListTagsForResource": tags.list_tags_for_resource,
    "ListTagsForStream": tags.list_tags_for_stream,
    "MergeShards": shards.merge_shards,
    "PutRecord": records.put_record,
    "PutRecords": records.put_records,
    "PutResourcePolicy": policies.put_resource_policy,
    "ReceiveDeadLetterQueueRecords": queue_records.receive_dead_letter_queue_records,
    "ReceiveQueueRecords": queue_records.receive_queue_records,
    "RegisterStreamConsumer": consumers.register_stream_consumer,
    "RemoveTagsFromStream": tags.remove_tags_from_stream,
    "RestoreDeadLetterQueueRecords": queue_records.restore_dead_letter_queue_records,
    "SplitShard": shards.split_shard,
    "StartStreamEncryption": alterations.start_stream_encryption,
    "StopStreamEncryption": alterations.stop_stream_encryption,
    "SubscribeToShard": subscriptions.subscribe_to_shard,
    "TagResource": tags.tag_resource,
    "UntagResource": tags.untag_resource,
    "UpdateAccountSettings": accounts.update_account_settings,
    "UpdateChannel": channels.refuse_channel,
    "UpdateDeadLetterQueueRecordsVisibility": queue_records.update_dead_letter_queue_records_visibility,
    "UpdateMaxRecordSize": alterations.update_max_record_size,
    "UpdateQueue": queues.update_queue,
    "UpdateQueueRecordsVisibility": queue_records.update_queue_records_visibility,
    "UpdateShardCount": shards.update_shard_count,
    "UpdateStreamMode": alterations.update_stream_mode,
    "UpdateStreamRecordDistributionStrategy": alterations.update_stream_record_distribution_strategy,
    "UpdateStreamWarmThroughput": alterations.update_stream_warm_throughput,
}

REFUSED: frozenset[str] = frozenset(name for name, run in OPERATIONS.items() if run is channels.refuse_channel)
"""Operations that are answered with a modelled error, always."""

OF_A_QUEUE = frozenset({"DeleteQueue", *(name for name in OPERATIONS if "QueueRecords" in name)})
"""Operations that are for whoever hands out the records of a queue."""

_LOOKS = ("Describe", "List")
"""Operations that show what exists also where another process has just made it."""


class Service:
    """Streams over a log, which belongs to whoever opened it. `random` gives that many random bytes."""

    implemented: frozenset[str] = frozenset(OPERATIONS) - REFUSED

    def __init__(
        self,
        log: Log,
        *,
        clock: Clock | None = None,
        settings: Settings | None = None,
        random: Callable[[int], bytes] = os.urandom,
        work: Work = ALONE,
    ) -> None:
        clock = clock or SystemClock()
        self._controller = Controller(log, clock, random)
        self._context = Context(log, self._controller, clock, settings or Settings(), random, work)
        self._checkpoints = Checkpoints(
            log, lambda stream_id: self._controller.catalog.by_id(stream_id) is not None, self._controller.current
        )
        self._janitor = Janitor(self._context)
        self._scaler = Scaler(self._context)

    async def open(self) -> None:
        """Replays what exists, drops what nobody owns, and begins to watch the retention."""
        await self._controller.open()
        await self._checkpoints.open()
        await self._context.opened()
        await self._context.drop_orphans()
        self._janitor.start()
        self._scaler.start()

    async def take(self, parts: Collection[int]) -> None:
        """What is in these parts is opened when it is asked for."""

    async def release(self, parts: Collection[int]) -> None:
        """Queues and consumer groups of these parts of the work are others' when it returns."""
        await self._context.release(parts)

    async def item(self, operation: str, request: Any, scope: Scope) -> str | None:
        """The item of the work whose owner answers a request; None where any process does. Raises `ResourceNotFound`."""
        if operation not in OF_A_QUEUE:
            return None

        async def find() -> str:
            return queue_item(find_queue(self._controller.catalog, request.queue_arn, self._context.now_ms()).id)

        return await self._answered(find)

    async def groups_item(self, scope: Scope, stream: str) -> str:
        """As `item`, for the consumer groups of a stream. Raises `ResourceNotFound`."""
        found = await self.describe_stream(scope, stream)
        return groups_item(found.id)

    def end_subscriptions(self) -> None:
        """Whoever is subscribed to a shard or waits at a queue comes to a clean end, and nobody else is or does any more."""
        self._context.stop()

    def secret(self, purpose: str) -> bytes:
        """32 bytes for one purpose, the same in all processes of this log and after every restart."""
        return blake2b(purpose.encode(), key=self._context.catalog.key, digest_size=32).digest()

    async def close(self) -> None:
        """Returns when what was begun has ended. The log stays open. Closing twice does nothing."""
        await self._scaler.stop()
        await self._janitor.stop()
        await self._context.close()
        await self._controller.close()
        await self._checkpoints.close()

    async def call(self, operation: str, request: Any, scope: Scope) -> Any:
        """The reply of a Kinesis operation (None where it has no output). Raises `RequestError`."""
        run = OPERATIONS.get(operation)
        if run is None:
            raise UnsupportedOperation(f"Headrace does not offer {operation} yet.")
        if self._context.guarded:
            stream = stream_named(request)
            await self._context.faults.call(operation, stream)
            self._context.throttles.call(operation, scope, stream)
        if operation.startswith(_LOOKS):
            await _translated(self._controller.current())
        return await self._answered(lambda: run(self._context, request, scope))

    def metrics(self) -> Iterator[tuple[Stream, str, Counts]]:
        """What has gone in and out: streams (not hidden ones) with a shard id of "", and shards whose stream has enhanced monitoring on."""
        for stream_id, counts, by_shard in self._context.metrics.streams():
            stream = self._controller.catalog.by_id(stream_id)
            if stream is not None and not stream.hidden:
                yield stream, "", counts
                for shard, shard_counts in by_shard.items():
                    yield stream, shard, shard_counts

    def visible_streams(self) -> list[Stream]:
        """All streams but hidden ones and those that are gone."""
        now_ms = self._context.now_ms()
        return [one for one in self._controller.catalog.streams.values() if not one.hidden and not one.gone(now_ms)]

    @property
    def subscriptions(self) -> int:
        """How many shards are subscribed to now."""
        return len(self._context.fanout)

    def resource(self, request: Any, scope: Scope) -> str | None:
        """The ARN of what a request is about; None where it is about nothing named. Raises `RequestError`."""
        return resource_arn(self._context, request, scope)

    def resource_policy(self, arn: str) -> str | None:
        """The policy of a stream, a consumer or a queue, as JSON text."""
        return self._controller.catalog.policies.get(arn)

    async def create_stream(
        self, scope: Scope, stream: str, shards: int = 1, *, retention_hours: int = 24, packed: bool = False
    ) -> None:
        await self._answered(
            lambda: native.create_stream(self._context, scope, stream, shards, retention_hours, packed)
        )

    async def delete_stream(self, scope: Scope, stream: str) -> None:
        async def delete() -> None:
            await self._context.delete(self._context.stream(scope, stream), delete_ms=0)

        await self._answered(delete)

    async def list_streams(self, scope: Scope) -> list[str]:
        return native.list_streams(self._context, scope)

    async def describe_stream(self, scope: Scope, stream: str) -> StreamDescription:
        async def describe() -> StreamDescription:
            return native.describe_stream(self._context, scope, stream)

        return await self._answered(describe)

    async def put(self, scope: Scope, stream: str, records: Records, mark: ProducerMark | None = None) -> Receipt:
        return await self._answered(lambda: native.put(self._context, scope, stream, records, mark))

    async def find(
        self, scope: Scope, stream: str, start: Start, shards: tuple[str, ...] | None = None
    ) -> dict[str, int]:
        return await self._answered(lambda: native.find(self._context, scope, stream, start, shards))

    async def fetch(
        self,
        scope: Scope,
        stream: str,
        positions: Mapping[str, int],
        *,
        size_max: int = FETCH_SIZE_MAX,
        wait_ms: int = 0,
    ) -> Fetch:
        return await self._answered(lambda: fetching.fetch(self._context, scope, stream, positions, size_max, wait_ms))

    async def load_checkpoint(self, scope: Scope, stream: str, consumer: str) -> dict[str, int]:
        async def load() -> dict[str, int]:
            return await self._checkpoints.load(self._context.stream(scope, stream).id, consumer)

        return await self._answered(load)

    async def save_checkpoint(self, scope: Scope, stream: str, consumer: str, positions: Mapping[str, int]) -> None:
        native.check_consumer(consumer)
        native.check_positions(positions)

        async def save() -> None:
            await self._checkpoints.save(self._context.stream(scope, stream).id, consumer, positions)

        await self._answered(save)

    async def sync_group(
        self,
        scope: Scope,
        stream: str,
        group: str,
        member: str,
        held: Mapping[str, int],
        *,
        start: Start,
        lease_ms: int,
        wait_ms: int = 0,
    ) -> dict[str, Lease]:
        asked = (stream, group, member, held, start, lease_ms, wait_ms)
        return await self._answered(lambda: groups.sync_group(self._context, scope, *asked))

    async def leave_group(self, scope: Scope, stream: str, group: str, member: str) -> None:
        await self._answered(lambda: groups.leave_group(self._context, scope, stream, group, member))

    async def save_group(
        self, scope: Scope, stream: str, group: str, member: str, progress: Mapping[str, Progress]
    ) -> None:
        await self._answered(lambda: groups.save_group(self._context, scope, stream, group, member, progress))

    async def forget_group(self, scope: Scope, stream: str, group: str) -> None:
        await self._answered(lambda: groups.forget_group(self._context, scope, stream, group))

    async def describe_groups(self, scope: Scope, stream: str) -> list[GroupDescription]:
        return await self._answered(lambda: groups.describe_groups(self._context, scope, stream))

    async def _answered(self, ask: Callable[[], Awaitable[A]]) -> A:
        """What is not there may have been made by another process a moment ago: then it is asked for again."""
        try:
            return await _translated(ask())
        except ResourceNotFound:
            if not await _translated(self._context.news()):
                raise
            return await _translated(ask())


async def _translated(answer: Awaitable[A]) -> A:
    """What the log could not do, as the request's error."""
    try:
        return await answer
    except (LogFull, LogUnreachable, ShardClosed, JournalMoved) as error:
        raise InternalFailure(f"{records.INTERNAL}: {error.message}") from error
    except LogClosed as error:
        raise ServiceUnavailable("The service is stopping.") from error
    except ShardUnknown as error:
        raise ResourceNotFound("The stream was deleted while the request ran.") from error
