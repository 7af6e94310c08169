"""A stream as a sink for rows: one JSON object a row (or what else encodes them), exactly once.

The name of the sink and the number of the delivery go with the records (`ProducerMark`), so a delivery that is repeated
after a crash appends only what is missing. It must then hold the same rows under the same number.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from connectors.formats.json import encode_json
from streams.core.clock import Clock, SystemClock
from streams.core.records import ProducerMark, Records
from streams.sdk.client import Client
from streams.sdk.retry import pauses, retriable
from streams.sdk.tables import split

PUT_SIZE_MAX = 4 << 20
"""Bytes of one put: half of what a fetch brings, so that a reader can take it whole."""
_PIECES_BITS = 20
"""A delivery is put in at most 2²⁰ pieces, which is 4 TB."""


class StreamSink:
    """Puts rows into `stream`. The partition key of a row is the text of its column `partition_key`, else its number in
    the delivery: spread over all shards, and the same when the delivery is repeated. `producer` has 1 to 64 bytes."""

    def __init__(
        self,
        client: Client,
        stream: str,
        producer: str,
        *,
        partition_key: str | None = None,
        encode: Callable[[pa.RecordBatch], pa.Array] = encode_json,
        clock: Clock | None = None,
        randomness: random.Random | None = None,
    ) -> None:
        self._client = client
        self._stream = stream
        self._producer = producer
        self._partition_key = partition_key
        self._encode = encode
        self._clock = clock or SystemClock()
        self._randomness = randomness or random.Random()

    def encode(self, rows: pa.RecordBatch) -> Records:
        """The records of `rows`, in their order."""
        numbers = pa.array(np.arange(len(rows))).cast(pa.string())
        if self._partition_key is None:
            keys = numbers
        else:
            given = rows.column(rows.schema.get_field_index(self._partition_key)).cast(pa.string())
            usable = pa.compute.and_(given.is_valid(), pa.compute.not_equal(given, ""))
            keys = pa.compute.if_else(usable, pa.compute.utf8_slice_codeunits(given, 0, 256), numbers)
        return Records(self._encode(rows), keys)

    async def put(self, number: int, records: Records) -> None:
        """Durable when it returns. `number` rises from one delivery to the next. Errors with ``retry`` are tried until
        the stream takes them; others are raised."""
        for piece, part in enumerate(split(records, PUT_SIZE_MAX)):
            mark = ProducerMark(self._producer, (number << _PIECES_BITS) + piece + 1)
            waits = pauses(self._randomness)
            while True:
                try:
                    await self._client.put(self._stream, part, mark)
                    break
                except asyncio.CancelledError:
                    raise
                except Exception as error:
                    if not retriable(error):
                        raise
                await self._clock.sleep(next(waits))
