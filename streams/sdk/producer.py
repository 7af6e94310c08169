"""`Producer`: many small puts made into few large ones, each record in the stream once and in order."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

from streams.core.clock import Clock, SystemClock
from streams.core.errors import ValidationError
from streams.core.records import ProducerMark, Records
from streams.core.shards import HASH_KEY_MAX
from streams.sdk.batching import Batcher, Draft
from streams.sdk.buffer import Room
from streams.sdk.client import Client, Receipt
from streams.sdk.delivery import Outcome, Tally, Ticket
from streams.sdk.metrics import ProducerMetrics
from streams.sdk.packing import Packing
from streams.sdk.retry import pauses, retriable
from streams.sdk.tables import PARTITION_KEY_MAX, records_of
from streams.sdk.waiting import news_within

log = logging.getLogger(__name__)

T = TypeVar("T")

BATCH_SIZE_MAX = 1 << 20
"""Bytes in one put of small records: past this the cost per put no longer shows (0.1 µs a record)."""
BATCH_COUNT_MAX = 10_000
"""Records in one put: what 1 MiB holds of records of 100 bytes."""
BUFFER_SIZE_MAX = 64 << 20
"""Bytes that wait or are under way: a second of a fast producer, and little beside the process itself."""
DEADLINE_S = 120.0
"""How long a put is tried again: a server may restart, or its disk be cleared, within two minutes."""
RECORD_OVERHEAD = 200
"""Bytes of Python objects around one record, counted against the buffer."""
RECORD_SIZE_MAX = 1 << 20
"""Bytes of data and partition key of one record: what a stream takes unless it was told to take more."""
AGGREGATE_SIZE_MAX = 51_200
"""Bytes of an aggregate, as the KPL's AggregationMaxSize."""
NAME_SIZE_MAX = 31
"""Bytes of a producer's name, so that its id fits into the 64 of a `ProducerMark`."""


class Producer:
    """Collects records and puts them to one stream, one put under way at a time, so order is kept per partition key.

    `put` waits only for room in the buffer of `buffer_size_max` bytes and gives a `Ticket`. What arrives while a put is
    under way becomes the next one, up to `batch_size_max` bytes or `batch_count_max` records; a first record waits
    `linger_ms` for company (none by default: the put under way is the linger).

    A put that fails with ``retry`` is tried again for `deadline_s` with the mark that it had, so that shards which took
    their part already do not take it twice. Past the deadline, or after another error, its tickets raise the error;
    what no ticket has shown to anybody is raised by `flush` and `close`. Use it as ``async with Producer(…)``.

    With `aggregate`, records of one put that go to one shard travel as KPL aggregates of at most `aggregate_size_max`
    bytes, each a record of the stream: consumers take them apart (`Consumer(…, deaggregate=True)`, the KCL). A ticket
    then tells where its aggregate is.

    `name` shows in the producer's id, which is unique to this object: a name used again does not continue a sequence.
    """

    def __init__(
        self,
        client: Client,
        stream: str,
        *,
        linger_ms: int = 0,
        batch_size_max: int = BATCH_SIZE_MAX,
        batch_count_max: int = BATCH_COUNT_MAX,
        buffer_size_max: int = BUFFER_SIZE_MAX,
        record_size_max: int = RECORD_SIZE_MAX,
        deadline_s: float = DEADLINE_S,
        aggregate: bool = False,
        aggregate_size_max: int = AGGREGATE_SIZE_MAX,
        name: str = "",
        clock: Clock | None = None,
        randomness: random.Random | None = None,
    ) -> None:
        if len(name.encode()) > NAME_SIZE_MAX:
            raise ValidationError(f"a producer's name has at most {NAME_SIZE_MAX} bytes of UTF-8: {name!r}")
        if not 0 < aggregate_size_max <= record_size_max:
            raise ValidationError(
                f"an aggregate has at most the {record_size_max} bytes of a record, not {aggregate_size_max}"
            )
        self._client = client
        self._stream = stream
        self._packing = Packing(client, stream, aggregate_size_max) if aggregate else None
        self._batcher = Batcher(linger_ms=linger_ms, size_max=batch_size_max, count_max=batch_count_max)
        self._room = Room(buffer_size_max)
        self._record_size_max = record_size_max
        self._deadline_ms = round(deadline_s * 1000)
        self._clock = clock or SystemClock()
        self._randomness = randomness or random.Random()
        # Never from `randomness`: two producers with one seed must not be taken for each other.
        self._id = f"{name}-{uuid.uuid4().hex}" if name else uuid.uuid4().hex
        self._sequence = 0
        self._tally = Tally()
        self._metrics = ProducerMetrics()
        self._news = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._last: Outcome | None = None
        self._closing = False

    @property
    def buffered(self) -> int:
        """Bytes that wait or are under way, with the overhead of their objects."""
        return self._room.held

    @property
    def metrics(self) -> ProducerMetrics:
        """What it has done so far: a copy, to be looked at."""
        return replace(self._metrics, buffered_bytes=self._room.held)

    async def put(
        self, data: bytes | str, partition_key: str | None = None, explicit_hash_key: int | str | None = None
    ) -> Ticket:
        """Accepts one record, waiting only while the buffer is full. ``await`` the ticket to know where it is.

        `data` as text is encoded as UTF-8. Without a partition key the record gets a random one, so that records spread
        over all shards. `explicit_hash_key` (0 to 2¹²⁸ - 1, as a number or in decimal) decides the shard in its stead.
        Raises `ValidationError` at once for what the stream would not take (a record of more than `record_size_max`
        bytes, an empty or long key), so that it spoils no other record's put.
        """
        blob = data if isinstance(data, bytes) else _bytes(data)
        key = str(self._randomness.getrandbits(32)) if partition_key is None else partition_key
        if not 0 < len(key) <= PARTITION_KEY_MAX:
            raise ValidationError(f"a partition key has 1 to {PARTITION_KEY_MAX} characters, not {len(key)}")
        # A lone surrogate in the key raises UnicodeEncodeError here, and not in a batch with others.
        size = len(blob) + (len(key) if key.isascii() else len(key.encode()))
        if size > self._record_size_max:
            raise ValidationError(f"a record has at most {self._record_size_max} bytes of data and key, not {size}")
        hash_key = None if explicit_hash_key is None else _hash_key(explicit_hash_key)
        room = size + RECORD_OVERHEAD
        if self._closing:
            raise RuntimeError("the producer is closed")
        if not self._room.take_at_once(room):
            await self._take_room(room)
        draft = self._batcher.add(key, blob, hash_key, room, self._clock.now_ms())
        count = len(draft.keys)
        if count == 1 or draft.complete:
            self._tell(draft)
        return Ticket(draft.outcome, count - 1)

    async def put_many(self, records: Iterable[tuple[str | None, bytes | str]]) -> list[Ticket]:
        """Accepts (partition key, data) pairs in order, waiting while the buffer is full."""
        return [await self.put(data, partition_key) for partition_key, data in records]

    async def put_batch(self, table: Any, *, data: str | None = None, partition_key: str | None = None) -> int:
        """Puts a whole table and returns the number of its records once all are durable; nothing is done per record.

        `table` is a pyarrow Table, RecordBatch or RecordBatchReader, a polars or pandas DataFrame, or anything with an
        Arrow stream (``__arrow_c_stream__``); a reader is read as room appears, so it may be longer than memory. Column
        `data` (binary or text) holds the records; without it every row becomes a JSON object of its columns (see
        `streams.sdk.tables`). Column `partition_key` holds the keys, by default the one of that name; where there is
        none, keys are random. Order is kept per partition key. Raises what kept a part of it from being durable.
        """
        if self._closing:
            raise RuntimeError("the producer is closed")
        outcomes: deque[tuple[Outcome, int]] = deque()
        total = 0
        pieces = records_of(table, data, partition_key, self._randomness)
        # Reading and encoding go on beside the put under way, outside of the event loop.
        while (records := await asyncio.to_thread(next, pieces, None)) is not None:
            while outcomes and outcomes[0][0].done:
                outcome, count = outcomes.popleft()
                outcome.receipt(seen=count)
            size = records.size
            await self._take_room(size)
            draft = self._batcher.add_bulk(records, size, self._clock.now_ms())
            self._tell(draft)
            outcomes.append((draft.outcome, len(records)))
            total += len(records)
        for outcome, count in outcomes:
            await outcome.settled()
            outcome.receipt(seen=count)
        return total

    async def flush(self) -> None:
        """Returns when everything accepted before is durable. Raises the first error that no ticket has shown."""
        self._batcher.close()
        self._news.set()
        if self._last is not None:
            await self._last.settled()
        tally, self._tally = self._tally, Tally()
        tally.settle()

    async def close(self) -> None:
        """Accepts no more, flushes, and stops; cut short, it fails what is left. Closing twice does nothing."""
        self._closing = True
        try:
            await self.flush()
        finally:
            if self._sending is not None:
                self._sending.cancel()
                await asyncio.wait([self._sending])
            self._batcher.close()
            while (draft := self._batcher.take(self._clock.now_ms())) is not None:
                self._fail(draft, RuntimeError("the producer was stopped before these records were put"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except Exception as failed:
            if error is None:
                raise
            error.add_note(f"and the producer could not deliver all it had accepted: {failed}")

    async def _take_room(self, size: int) -> None:
        await self._room.take(size)
        if self._closing:
            self._room.give(size)
            raise RuntimeError("the producer was closed while the record waited for room")

    def _tell(self, draft: Draft) -> None:
        """The sender shall look: there is a new draft, or one is complete."""
        self._last = draft.outcome
        self._news.set()
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name=f"producer to {self._stream}")

    async def _send(self) -> None:
        """Puts what is due, one draft at a time, until cancelled."""
        while True:
            now_ms = self._clock.now_ms()
            draft = self._batcher.take(now_ms)
            if draft is not None:
                await self._deliver(draft)
                continue
            self._news.clear()
            wait_ms = self._batcher.wait_ms(now_ms)
            await news_within(self._news, self._clock, None if wait_ms is None else wait_ms / 1000)

    async def _deliver(self, draft: Draft) -> None:
        """Settles the draft's outcome, well or not, and gives its room back."""
        try:
            records = draft.records()
            began_ms = self._clock.now_ms()
            receipt = (
                await self._put(records)
                if self._packing is None
                else await self._packing.put(records, self._put, self._asked)
            )
            self._metrics.put(len(records), records.size, self._clock.now_ms() - began_ms)
            draft.outcome.succeed(receipt)
            self._room.give(draft.room)
        except Exception as error:
            log.error("%d records for stream %s were not delivered: %s", len(draft), self._stream, error)
            self._fail(draft, error)
        except asyncio.CancelledError:
            self._fail(draft, RuntimeError("the producer was stopped while these records were under way"))
            raise

    async def _put(self, records: Records) -> Receipt:
        """One append, once, however often it must be asked for."""
        mark = ProducerMark(self._id, self._sequence)
        self._sequence += 1
        return await self._asked(lambda: self._client.put(self._stream, records, mark))

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer, asked for until the deadline."""
        started_ms = self._clock.now_ms()
        for pause in pauses(self._randomness):
            try:
                return await ask()
            except Exception as error:
                if not retriable(error) or self._clock.now_ms() - started_ms >= self._deadline_ms:
                    raise
                self._metrics.retries += 1
                log.warning("put to stream %s fails, again in %.2f s: %s", self._stream, pause, error)
            await self._clock.sleep(pause)
        raise AssertionError("pauses never end")

    def _fail(self, draft: Draft, error: Exception) -> None:
        self._metrics.failed_records += len(draft)
        draft.outcome.fail(error, len(draft), self._tally)
        self._room.give(draft.room)


def _bytes(data: object) -> bytes:
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"a record's data are bytes or text, not {type(data).__name__}")


def _hash_key(value: int | str) -> bytes:
    """16 bytes, big-endian."""
    number = int(value) if isinstance(value, int) or value.isdecimal() else -1
    if not 0 <= number <= HASH_KEY_MAX:
        raise ValidationError(f"an explicit hash key is a number from 0 to 2^128 - 1, not {value!r}")
    return number.to_bytes(16, "big")
