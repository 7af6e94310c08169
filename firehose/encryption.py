"""StartDeliveryStreamEncryption, StopDeliveryStreamEncryption.

A flag with AWS's life cycle. What is on disk is encrypted by the setting `encryption_key`, for all streams or for none.
"""

from __future__ import annotations

from typing import Any

from firehose.catalog import Catalog
from firehose.context import Context
from firehose.events import DIRECT_PUT, Encryption, EncryptionSet, Event
from firehose.stream import ENCRYPTION_CHANGES_MAX, ENCRYPTION_WINDOW_MS, DeliveryStream
from streams.core.errors import InvalidArgument, LimitExceeded, ResourceInUse
from streams.core.scope import Scope

AWS_OWNED, CUSTOMER_MANAGED = "AWS_OWNED_CMK", "CUSTOMER_MANAGED_CMK"


async def start_delivery_stream_encryption(context: Context, request: Any, scope: Scope) -> Any:
    asked = request.delivery_stream_encryption_configuration_input
    await _change(context, scope, request.delivery_stream_name, key_of(asked))
    return {}


async def stop_delivery_stream_encryption(context: Context, request: Any, scope: Scope) -> Any:
    await _change(context, scope, request.delivery_stream_name, None)
    return {}


def key_of(asked: Any) -> tuple[str, str | None]:
    """(type, ARN) of the key; AWS's own where the request names none. Raises `InvalidArgument`."""
    kind, arn = (AWS_OWNED, None) if asked is None else (asked.key_type, asked.key_arn)
    if kind == CUSTOMER_MANAGED and arn is None:
        raise InvalidArgument("KeyARN is required when KeyType is CUSTOMER_MANAGED_CMK.")
    if kind == AWS_OWNED and arn is not None:
        raise InvalidArgument("KeyARN must not be provided when KeyType is AWS_OWNED_CMK.")
    return kind, arn


async def _change(context: Context, scope: Scope, name: str, key: tuple[str, str | None] | None) -> None:
    def decide(_catalog: Catalog, now_ms: int) -> tuple[None, list[Event]]:
        stream = context.active(scope, name)
        _check(context, stream, now_ms)
        before = stream.created.encryption
        if key is None:
            if before is None or not before.on:
                return None, []
            after = Encryption(False, now_ms, before.key_type, before.key_arn)
        else:
            after = Encryption(True, now_ms, *key)
        return None, [EncryptionSet(stream.number, after)]

    await context.book.execute(decide)


def _check(context: Context, stream: DeliveryStream, now_ms: int) -> None:
    if stream.created.type != DIRECT_PUT:
        raise InvalidArgument(f"This operation is not permitted on {stream.created.type} delivery stream type.")
    status = context.encryption_status(stream)
    if status in ("ENABLING", "DISABLING"):
        raise ResourceInUse(f"Encryption of Firehose {stream.name} is {status}; wait until that is done.")
    recent = [at_ms for at_ms in stream.encryption_changes_ms if at_ms > now_ms - ENCRYPTION_WINDOW_MS]
    if len(recent) >= ENCRYPTION_CHANGES_MAX:
        raise LimitExceeded(
            f"Encryption of Firehose {stream.name} was started and stopped {len(recent)} times in the last 24 hours; "
            f"the limit is {ENCRYPTION_CHANGES_MAX}."
        )
