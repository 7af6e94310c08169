"""One call of a Firehose operation from the command line."""

from __future__ import annotations

from typing import Any

from gateway.cli import aws_call
from gateway.cli.connection import Target

_PAGE = 100


def call(target: Target, operation: str, **members: Any) -> Any:
    """See `aws_call.call`."""
    return aws_call.call(target, "firehose", operation, members, "DeliveryStreamName", lambda: names(target))


def names(target: Target) -> list[str]:
    """Of all delivery streams."""
    found: list[str] = []
    more: dict[str, str] = {}
    while True:
        page = call(target, "list_delivery_streams", Limit=_PAGE, **more)
        found += page["DeliveryStreamNames"]
        if not page["HasMoreDeliveryStreams"]:
            return found
        more = {"ExclusiveStartDeliveryStreamName": found[-1]}
