"""The five channel operations, which Headrace refuses: a channel takes a stream to S3 objects or S3 tables, as Firehose does."""

from __future__ import annotations

from typing import Any, NoReturn

from streams.core.errors import ValidationError
from streams.core.scope import Scope
from streams.operations.context import Context


async def refuse_channel(context: Context, request: Any, scope: Scope) -> NoReturn:
    """Raises `ValidationError`, which is in the model of all five."""
    raise ValidationError(
        "Headrace does not offer channels. A delivery stream with this stream as its source writes its records to S3:"
        " firehose CreateDeliveryStream."
    )
