"""One call of a Firehose operation from the command line."""

from __future__ import annotations

import difflib
from typing import Any

import botocore.exceptions

from gateway.cli.connection import Target
from gateway.cli.failure import Failure

_PAGE = 100


def call(target: Target, operation: str, **members: Any) -> Any:
    """One call. Raises `Failure` in the server's words, with a hint where there is one."""
    try:
        return getattr(target.aws("firehose"), operation)(**members)
    except botocore.exceptions.EndpointConnectionError as error:
        raise target.down from error
    except botocore.exceptions.ClientError as error:
        raise Failure(error.response["Error"]["Message"], hint=_hint(target, error, members)) from error
    except (botocore.exceptions.ParamValidationError, botocore.exceptions.HTTPClientError) as error:
        raise Failure(str(error)) from error


def _hint(target: Target, error: Any, members: dict[str, Any]) -> str | None:
    name = members.get("DeliveryStreamName")
    if name is None or error.response["Error"]["Code"] != "ResourceNotFoundException":
        return None
    alike = difflib.get_close_matches(name, names(target))
    return f"did you mean {' or '.join(alike)}?" if alike else None


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
