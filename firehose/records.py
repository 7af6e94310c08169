"""PutRecord and PutRecordBatch: durable in the hidden stream of the log before they are acknowledged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from firehose.context import Context
from firehose.events import DIRECT_PUT
from firehose.inflow import SLOW_DOWN
from firehose.processors import enabled_processors
from firehose.quotas import throughput
from firehose.replays import key_of, opened
from firehose.splitting import GZIP_MAGIC
from firehose.stream import DeliveryStream
from firehose.transform import record_ids
from streams.core.errors import (
    HeadraceError,
    InvalidArgument,
    RequestError,
    ResourceNotFound,
    ServiceUnavailable,
)
from streams.core.records import Records
from streams.core.scope import Scope

BATCH_SIZE_MAX = 4 << 20
"""Bytes of one PutRecordBatch, AWS's limit. Its other limits (500 records, 1,000 KiB each) are in the service's model."""


async def put_record(context: Context, request: Any, scope: Scope) -> Any:
    stream = _direct(context, request, scope)
    (identity,) = await _put(context, stream, [request.record.data])
    return {"RecordId": identity, "Encrypted": _encrypted(context, stream)}


async def put_record_batch(context: Context, request: Any, scope: Scope) -> Any:
    """A batch that cannot be taken now fails entry by entry, as producers expect it."""
    stream = _direct(context, request, scope)
    encrypted = _encrypted(context, stream)
    data = [record.data for record in request.records]
    size = sum(map(len, data))
    if size > BATCH_SIZE_MAX:
        raise InvalidArgument(f"Records size exceeds {BATCH_SIZE_MAX // (1 << 20)} MB limit")
    try:
        identities = await _put(context, stream, data)
    except ServiceUnavailable as error:
        entry = {"ErrorCode": error.code, "ErrorMessage": error.message}
        return {"FailedPutCount": len(data), "Encrypted": encrypted, "RequestResponses": [entry] * len(data)}
    responses = [{"RecordId": identity} for identity in identities]
    return {"FailedPutCount": 0, "Encrypted": encrypted, "RequestResponses": responses}


def _direct(context: Context, request: Any, scope: Scope) -> DeliveryStream:
    """The delivery stream, if records may be put into it now."""
    stream = context.stream(scope, request.delivery_stream_name)
    if context.status(stream) != "ACTIVE":
        raise ResourceNotFound(f"Firehose {stream.name} is not active in {scope.account} account.")
    if stream.created.type != DIRECT_PUT:
        raise InvalidArgument(f"This operation is not permitted on {stream.created.type} delivery stream type.")
    return stream


def _encrypted(context: Context, stream: DeliveryStream) -> bool:
    return context.encryption_status(stream) == "ENABLED"


class InvalidSource(RequestError):
    code = "InvalidSourceException"


def _check_logs(stream: DeliveryStream, data: Sequence[bytes]) -> None:
    """What a stream that decompresses takes is what CloudWatch Logs sends: gzip. Raises `InvalidSource`."""
    if "Decompression" not in enabled_processors(stream.created.destination):
        return
    if any(not record.startswith(GZIP_MAGIC) for record in data):
        raise InvalidSource(
            "Only requests from CloudWatch Logs are supported when CloudWatch Logs decompression is enabled."
        )


async def _put(context: Context, stream: DeliveryStream, data: Sequence[bytes]) -> list[str]:
    """The ids of the records, which are durable. Raises `ServiceUnavailable` where the same may succeed later."""
    records = [opened(one) for one in data]
    _check_logs(stream, [record for record, _ in records])
    taken = throughput(stream.scope.region, stream.created.throughput_hint_mbs)
    if not context.quotas.put(stream.number, taken, len(data), sum(map(len, data))):
        raise ServiceUnavailable(SLOW_DOWN)
    client = context.client_for(stream.scope)
    # One key for the request: its records stay together, and requests spread over the shards.
    key = os.urandom(8).hex()
    keys = [key_of(key, attempts) for _, attempts in records]
    try:
        with context.inflow.admitted(sum(map(len, data))):
            receipt = await client.put(stream.source.stream, Records.of(keys, [record for record, _ in records]))
        shards = {shard.id: shard for shard in (await client.describe_stream(stream.source.stream)).shards}
    except HeadraceError as error:
        if error.retry:
            raise ServiceUnavailable(SLOW_DOWN) from error
        raise
    places = zip(receipt.shard.to_pylist(), receipt.offset.to_pylist(), strict=True)
    return [record_ids(shards[receipt.shards[shard]], [offset])[0] for shard, offset in places]
