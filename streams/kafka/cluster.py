"""The brokers: each request goes to the one that leads, and again where leadership or a connection has moved.

What a broker refuses for good raises `Refused`. What it cannot do now is asked again, with pauses, for `PATIENCE_S`; then
`LogUnreachable` is raised. A partition that the cluster does not have is `ShardUnknown`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    KafkaError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    OffsetOutOfRangeError,
    StaleMetadata,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import TopicPartition

from streams.core.brokers import connection_options
from streams.core.errors import LogClosed, LogError, LogUnreachable, ShardUnknown
from streams.kafka.address import Address
from streams.kafka.batches import BATCH_SIZE_MAX
from streams.kafka.places import Place
from streams.kafka.security import refusal

PATIENCE_S = 20.0
"""How long a call waits for brokers that do not answer: below the 60 s after which SDKs give a request up."""

REQUEST_S = 10.0
"""After which a request that is not answered goes to whoever leads by then."""

PAUSE_S = 0.05
PAUSE_S_MAX = 1.0
"""The first pause before a request is repeated, and the longest: each is twice the one before."""

UNKNOWN_S = 1.0
"""How long a partition may be unknown to one broker after another has made it."""

LATEST, EARLIEST = -1, -2
READS = "reads"
"""Connections of their own for reads, so that they do not wait behind appends that wait for replicas."""

T = TypeVar("T")

CONFIG = {
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "cleanup.policy": "delete",
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": str(2**63 - 1),
    "message.timestamp.before.max.ms": str(2**63 - 1),
    "max.message.bytes": str(BATCH_SIZE_MAX),
    "compression.type": "producer",
    "unclean.leader.election.enable": "false",
}
"""What a topic of ours is made with: what ages out is trimmed by us, as each stream's retention says."""


class Refused(LogError):
    """A broker refuses a request for good."""


class Fetched(NamedTuple):
    """Record batches as they came, of which the first may begin before the offset asked for; and the offset after the
    newest record that may be read."""

    data: bytes
    next: int


class Cluster:
    """Open it with `open`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        options: dict[str, Any] = {
            "bootstrap_servers": list(address.brokers),
            "client_id": "headrace",
            "request_timeout_ms": round(REQUEST_S * 1000),
            "retry_backoff_ms": round(PAUSE_S * 1000),
            **connection_options(address.security),
        }
        self._client = AIOKafkaClient(**options)
        self._admin = AIOKafkaAdminClient(**options)
        self._offsets: dict[int, dict[Place, asyncio.Future[int]]] = {}
        self._closing = asyncio.Event()

    @classmethod
    async def open(cls, address: Address) -> Cluster:
        """Raises `LogUnreachable`."""
        cluster = cls(address)
        try:
            await cluster._client.bootstrap()
            await cluster._admin.start()
            await cluster.refresh()
        except KafkaError as error:
            await cluster.close()
            why = await refusal(address.brokers, address.security)
            raise LogUnreachable(f"no broker of {','.join(address.brokers)} answers: {why or error}") from error
        return cluster

    async def close(self) -> None:
        self._closing.set()
        await self._client.close()
        await self._admin.close()

    def partitions(self, topic: str) -> int:
        """How many the topic has, as far as is known; 0 where there is none."""
        return len(self._client.cluster.partitions_for_topic(topic) or ())

    def leader(self, place: Place) -> int | None:
        """The broker that leads it, as far as is known."""
        leader = self._client.cluster.leader_for_partition(TopicPartition(*place))
        return None if leader is None or leader == -1 else leader

    async def refresh(self) -> bool:
        """What is known is what the cluster says now; False where no broker answers."""
        if self._closing.is_set():
            return False
        update = asyncio.ensure_future(self._client.force_metadata_update())
        closing = asyncio.create_task(self._closing.wait())
        await asyncio.wait([update, closing], return_when=asyncio.FIRST_COMPLETED)
        closing.cancel()
        return update.done() and bool(update.result())

    async def topics(self) -> dict[str, int]:
        """All topics with their numbers of partitions."""

        async def ask() -> dict[str, int]:
            found = await self._client.fetch_all_metadata()
            return {topic: len(found.partitions_for_topic(topic) or ()) for topic in found.topics()}

        return await self._patiently(ask)

    async def members(self, group: str) -> int:
        """How many processes are in a group of Kafka's."""

        async def ask() -> int:
            count = 0
            for reply in await self._admin.describe_consumer_groups([group]):
                for code, _, _, _, _, members, *_ in reply.groups:
                    if code:
                        raise for_code(code)(group)
                    count += len(members)
            return count

        return await self._patiently(ask)

    async def create(self, topic: str, partitions: int, config: Mapping[str, str] | None = None) -> None:
        """The topic has at least so many partitions, and is known to. `config` is what is other than in `CONFIG`."""

        async def ask() -> None:
            if not self.partitions(topic):
                await self._create(topic, partitions, {**CONFIG, **(config or {})})
            await self.refresh()
            if 0 < self.partitions(topic) < partitions:
                await self._grow(topic, partitions)
                await self.refresh()
            for index in range(partitions):
                if self.leader(Place(topic, index)) is None:
                    raise LeaderNotAvailableError(f"partition {index} of {topic}")

        await self._patiently(ask)

    async def delete(self, topic: str) -> None:
        """There is no such topic."""

        async def ask() -> None:
            reply = await self._admin.delete_topics([topic])
            for _, code in reply.topic_error_codes:
                if code and for_code(code) is not UnknownTopicOrPartitionError:
                    raise for_code(code)(topic)
            await self.refresh()
            if self.partitions(topic):
                raise LeaderNotAvailableError(f"{topic} is still there")

        await self._patiently(ask)

    async def trim(self, place: Place, before: int) -> None:
        """Records below `before` (-1: all) are gone."""

        async def ask() -> None:
            await self._admin.delete_records({TopicPartition(*place): RecordsToDelete(before)})

        await self._patiently(ask, place)

    async def offset(self, place: Place, timestamp: int) -> int:
        """`LATEST`: the next offset, `EARLIEST`: the first one; a time in ms: that of the first record at or after it, -1
        where there is none. All that are asked for in one turn of the loop share a request."""

        async def ask() -> int:
            asked = self._offsets.get(timestamp)
            if asked is None:
                asked = self._offsets[timestamp] = {}
                task = asyncio.create_task(self._ask_offsets(timestamp))
                task.add_done_callback(lambda done: done.exception())
            if place not in asked:
                asked[place] = asyncio.get_running_loop().create_future()
            return await asyncio.shield(asked[place])

        return await self._patiently(ask, place)

    async def fetch(self, place: Place, offset: int, size_max: int) -> Fetched:
        """From `offset` on, about `size_max` bytes, at least one batch if there is any. Raises `OffsetOutOfRangeError`."""

        async def ask() -> Fetched:
            leader = self._lead(place)
            request = FetchRequest(0, 0, size_max, 0, [(place.topic, [(place.partition, offset, size_max)])])
            reply = await self._client.send(leader, request, group=READS)
            ((_, ((_, code, next_, *_, data),)),) = reply.topics
            if code:
                raise for_code(code)()
            return Fetched(data or b"", next_)

        return await self._patiently(ask, place)

    async def poll(
        self, leader: int, positions: Sequence[tuple[Place, int]], wait_ms: int, group: str
    ) -> dict[Place, int]:
        """Waits until one of the partitions has a record at its position; the next offsets of all of them, without those
        that this broker could not tell. Raises `KafkaError`."""
        topics: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
        for place, offset in positions:
            topics[place.topic].append((place.partition, offset, 1))
        request = FetchRequest(wait_ms, 1, 1, 0, list(topics.items()))
        reply = await self._client.send(leader, request, group=group)
        found = {}
        for topic, partitions in reply.topics:
            for partition, code, next_, *_ in partitions:
                if not code:
                    found[Place(topic, partition)] = next_
                elif for_code(code).invalid_metadata:
                    self._client.force_metadata_update()
        return found

    def _lead(self, place: Place) -> int:
        if place.partition >= self.partitions(place.topic):
            raise UnknownTopicOrPartitionError(f"partition {place.partition} of {place.topic}")
        leader = self.leader(place)
        if leader is None:
            raise LeaderNotAvailableError(f"partition {place.partition} of {place.topic}")
        return leader

    async def _create(self, topic: str, partitions: int, config: dict[str, str]) -> None:
        new = NewTopic(topic, partitions, 1, topic_configs=config)
        new.replication_factor = self._address.replication  # whose constructor takes no -1
        reply = await self._admin.create_topics([new])
        for _, code, message in reply.topic_errors:
            if code and for_code(code) is not TopicAlreadyExistsError:
                raise for_code(code)(f"{topic}: {message}")

    async def _grow(self, topic: str, partitions: int) -> None:
        try:
            await self._admin.create_partitions({topic: NewPartitions(partitions)})
        except InvalidPartitionsError as error:
            # Somebody else was quicker. A broker that has not heard of it yet has by the next question.
            await self.refresh()
            if self.partitions(topic) < partitions:
                raise LeaderNotAvailableError(f"{topic}: {error}") from error

    async def _ask_offsets(self, timestamp: int) -> None:
        await asyncio.sleep(0)
        asked = self._offsets.pop(timestamp)
        by_leader: dict[int, list[Place]] = defaultdict(list)
        for place, future in asked.items():
            try:
                by_leader[self._lead(place)].append(place)
            except KafkaError as error:
                _fail(future, error)
        await asyncio.gather(
            *(self._ask_leader(leader, timestamp, places, asked) for leader, places in by_leader.items())
        )

    async def _ask_leader(
        self, leader: int, timestamp: int, places: list[Place], asked: dict[Place, asyncio.Future[int]]
    ) -> None:
        topics: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for place in places:
            topics[place.topic].append((place.partition, timestamp))
        try:
            reply = await self._client.send(leader, OffsetRequest(-1, 0, list(topics.items())), group=READS)
            for topic, partitions in reply.topics:
                for partition, code, _, offset, *_ in partitions:
                    future = asked[Place(topic, partition)]
                    if code:
                        _fail(future, for_code(code)())
                    elif not future.done():
                        future.set_result(offset)
        except Exception as error:
            for place in places:
                _fail(asked[place], error)

    async def _patiently(self, ask: Callable[[], Awaitable[T]], place: Place | None = None) -> T:
        """Asks until it is answered, or until patience ends."""
        loop = asyncio.get_running_loop()
        begun, pause = loop.time(), PAUSE_S
        while True:
            try:
                return await ask()
            except OffsetOutOfRangeError:
                raise
            except UnknownTopicOrPartitionError as error:
                if loop.time() - begun > UNKNOWN_S:
                    raise ShardUnknown(f"no partition {place} in this cluster") from error
                failure: Exception = error
            except (KafkaError, TimeoutError) as error:
                if not _passing(error):
                    raise Refused(f"the broker refuses: {error}") from error
                failure = error
            if self._closing.is_set():
                raise LogClosed("the log was closed") from failure
            if loop.time() - begun > PATIENCE_S:
                raise LogUnreachable(f"Kafka has not answered for {PATIENCE_S:g} s: {failure!r}") from failure
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_S_MAX)
            await self.refresh()


def _passing(error: Exception) -> bool:
    """Whether the same request may succeed later. aiokafka raises a bare `KafkaError` where it reaches no broker at all."""
    if isinstance(error, InvalidReplicationFactorError):
        return True  # fewer brokers live just now than a topic is to have copies
    if isinstance(error, KafkaError):
        return type(error) is KafkaError or isinstance(error, NodeNotReadyError | StaleMetadata) or error.retriable
    return True


def _fail(future: asyncio.Future[int], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # whoever asked may have gone away
