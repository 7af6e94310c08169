"""Invoke: an event in, an answer out; a function that fails is an answer too."""

from __future__ import annotations

import json
import uuid
from base64 import b64encode
from typing import Any

import msgspec

from connectors.functions.api.errors import (
    FunctionNotFound,
    InvalidRequestContent,
    LambdaError,
    RequestTooLarge,
    TooManyRequests,
    not_offered,
)
from connectors.functions.environment import VERSION
from connectors.functions.errors import (
    FunctionFault,
    FunctionUnknown,
    FunctionUnreachable,
    PayloadTooLarge,
    TooManyCalls,
)
from connectors.functions.pool import EVENT_SIZE_MAX
from connectors.functions.registry import Functions

NOT_JSON = "Could not parse request body into json: Could not parse payload into json: "


async def invoke(functions: Functions, arn: str, request: Any) -> dict[str, Any]:
    """Raises `RequestError`."""
    kind = request.invocation_type or "RequestResponse"
    if kind == "Event":
        raise not_offered("InvocationType Event: asynchronous invocation")
    if request.durable_execution_name or request.tenant_id:
        raise not_offered("DurableExecutionName" if request.durable_execution_name else "TenantId")
    if kind == "DryRun":
        return {"StatusCode": 204, "ExecutedVersion": VERSION}
    event = request.payload or b"{}"
    _check(event)
    try:
        outcome = await functions.call(
            arn, event, request_id=str(uuid.uuid4()), client_context=_context(request.client_context)
        )
    except PayloadTooLarge as error:
        raise RequestTooLarge(
            f"Request must be smaller than {EVENT_SIZE_MAX} bytes for the InvokeFunction operation"
        ) from error
    except TooManyCalls as error:
        raise TooManyRequests("Rate Exceeded.") from error
    except FunctionUnknown as error:
        raise FunctionNotFound(f"Function not found: {arn}") from error
    told: dict[str, Any] = {"StatusCode": 200, "ExecutedVersion": VERSION, "Payload": outcome.answer}
    if isinstance(outcome.fault, FunctionFault):
        told |= {"FunctionError": "Unhandled", "Payload": outcome.fault.payload}
    elif isinstance(outcome.fault, FunctionUnreachable):
        raise LambdaError(outcome.fault.message)
    if request.log_type == "Tail":
        told["LogResult"] = b64encode(outcome.log).decode()
    return told


def _check(event: bytes) -> None:
    """Raises `InvalidRequestContent` for what is not JSON."""
    if len(event) > EVENT_SIZE_MAX:
        return  # that is said elsewhere
    try:
        msgspec.json.decode(event)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestContent(f"{NOT_JSON}{error}") from error


def _context(text: str | None) -> str:
    """X-Amz-Client-Context is base64 of JSON; the function is given the JSON. Raises `InvalidRequestContent`."""
    if not text:
        return ""
    try:
        return json.dumps(json.loads(msgspec.convert(text, bytes)))
    except (ValueError, RecursionError) as error:
        raise InvalidRequestContent("Client context must be a valid Base64-encoded JSON object.") from error
