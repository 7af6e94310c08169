"""Functions that run elsewhere: behind an HTTP URL, or at another Lambda endpoint.

POST  the event as JSON → 200, the answer as JSON; with X-Amz-Function-Error the answer is a fault

An HTTP URL is asked as it stands. A Lambda endpoint is asked for Invoke, signed with the credentials that AWS's SDKs find
(environment, ~/.aws, the machine's role), unsigned where there are none.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from connectors.functions.environment import Outcome
from connectors.functions.errors import (
    AnswerTooLarge,
    FunctionError,
    FunctionRaised,
    FunctionTimedOut,
    FunctionUnreachable,
    PayloadTooLarge,
    TooManyCalls,
)
from connectors.functions.pool import EVENT_SIZE_MAX, WAITING_MAX
from connectors.functions.runtime_api import ANSWER_SIZE_MAX
from connectors.http_client import new_session

_SHOWN_MAX = 1024
"""Characters of an answer that a message repeats."""

_OURS = aiohttp.ClientTimeout(total=None)
"""The time is bounded around the whole call."""

_INVOKE = "/2015-03-31/functions/{}/invocations"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a function is: `url` takes the event. `region` is set for a Lambda endpoint."""

    name: str
    url: str
    timeout_s: float
    region: str = ""

    @staticmethod
    def of_lambda(name: str, arn: str, endpoint: str, timeout_s: float) -> Place:
        """The function `arn` at `endpoint`, AWS's own in the ARN's region without one."""
        region = arn.split(":")[3]
        base = endpoint.rstrip("/") or f"https://lambda.{region}.amazonaws.com"
        return Place(name, base + _INVOKE.format(quote(arn, safe="")), timeout_s, region)


class RemoteFunction:
    """See `connectors.functions.registry.Callee`."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._session: aiohttp.ClientSession | None = None
        self._credentials: Any = None
        self._asked_for_credentials = False
        self._calls = 0

    async def call(self, event: bytes, *, request_id: str = "", client_context: str = "") -> Outcome:
        """Raises `PayloadTooLarge`, `TooManyCalls`; whatever else goes wrong is the outcome's fault."""
        name = self._place.name
        if len(event) > EVENT_SIZE_MAX:
            raise PayloadTooLarge(f"function {name}: the event has {len(event)} bytes, the limit is {EVENT_SIZE_MAX}")
        if self._calls >= WAITING_MAX:
            raise TooManyCalls(f"function {name}: {WAITING_MAX} calls are under way already")
        self._calls += 1
        try:
            async with asyncio.timeout(self._place.timeout_s):
                return await self._ask(event, client_context)
        except TimeoutError:
            text = f"{request_id} Task timed out after {self._place.timeout_s:.2f} seconds".strip()
            return Outcome(b"", FunctionTimedOut.of(name, "Sandbox.Timedout", text))
        except (aiohttp.ClientError, OSError) as error:
            return Outcome(b"", FunctionUnreachable(f"function {name} at {self._place.url}: {_told(error)}"))
        finally:
            self._calls -= 1

    async def retire(self) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(self, event: bytes, client_context: str) -> Outcome:
        if self._session is None:
            self._session = new_session()
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._place.region:
            headers["X-Amz-Log-Type"] = "Tail"
            if client_context:
                headers["X-Amz-Client-Context"] = b64encode(client_context.encode()).decode()
            headers = await asyncio.to_thread(self._signed, headers, event)
        url = URL(self._place.url, encoded=True)
        asked = self._session.post(url, data=event, headers=headers, allow_redirects=False, timeout=_OURS)
        async with asked as response:
            body = await _read(response)
            log = _log(response.headers)
            fault = self._fault(response.status, response.headers, body)
            return Outcome(b"" if fault is not None or body is None else body, fault, log)

    def _fault(self, status: int, headers: Mapping[str, str], body: bytes | None) -> FunctionError | None:
        name = self._place.name
        if body is None:
            text = f"Response payload size exceeded maximum allowed payload size ({ANSWER_SIZE_MAX} bytes)."
            return AnswerTooLarge.of(name, "Function.ResponseSizeTooLarge", text)
        if "X-Amz-Function-Error" in headers:
            return FunctionRaised(name, body)
        if 200 <= status < 300:
            return None
        shown = body[:_SHOWN_MAX].decode(errors="replace")
        kind = TooManyCalls if status == 429 else FunctionUnreachable
        return kind(f"function {name} at {self._place.url} answered {status}: {shown}")

    def _signed(self, headers: dict[str, str], body: bytes) -> dict[str, str]:
        """Blocks: credentials may have to be fetched, and the body is hashed."""
        # Importing these takes a tenth of a second, which only those pay whose functions are at AWS.
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.session import Session

        if not self._asked_for_credentials:
            self._credentials = Session().get_credentials()
            self._asked_for_credentials = True
        if self._credentials is None:
            return headers
        request = AWSRequest("POST", self._place.url, headers=headers, data=body)
        SigV4Auth(self._credentials, "lambda", self._place.region).add_auth(request)
        return dict(request.headers.items())


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """The body; None where it is over the limit."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > ANSWER_SIZE_MAX:
            response.close()
            return None
        parts.append(part)
    return b"".join(parts)


def _log(headers: Mapping[str, str]) -> bytes:
    try:
        return b64decode(headers.get("X-Amz-Log-Result", ""), validate=True)
    except ValueError:
        return b""


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__
