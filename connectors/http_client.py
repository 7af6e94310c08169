"""Posts deliveries to HTTP endpoints, see `connectors.http_endpoint`."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import aiohttp
import msgspec
from isal import isal_zlib

from connectors.http_endpoint import ANSWER_SIZE_MAX, TIMEOUT_S, Endpoint, EndpointError

_SHOWN_MAX = 1_024
"""Characters of an answer that a message repeats."""
_GZIP_LEVEL = 1


class _Answer(msgspec.Struct):
    request_id: str = msgspec.field(name="requestId")
    timestamp: float
    error: Any = msgspec.field(name="errorMessage", default=None)


_answer = msgspec.json.Decoder(_Answer).decode


def new_session() -> aiohttp.ClientSession:
    """Connections that endpoints share. No redirects, no proxies, no cookies: requests go where they were told to. Trusts
    what the system trusts, or SSL_CERT_FILE of the environment."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context())
    return aiohttp.ClientSession(connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())


async def post(session: aiohttp.ClientSession, endpoint: Endpoint, request_id: str, body: bytes) -> None:
    """The endpoint has taken `body` when it returns. Raises `EndpointError`."""
    headers = {
        "Content-Type": "application/json",
        "X-Amz-Firehose-Protocol-Version": "1.0",
        "X-Amz-Firehose-Request-Id": request_id,
        "X-Amz-Firehose-Source-Arn": endpoint.source_arn,
    }
    if endpoint.access_key:
        headers["X-Amz-Firehose-Access-Key"] = endpoint.access_key
    if endpoint.attributes:
        attributes = {"commonAttributes": dict(endpoint.attributes)}
        headers["X-Amz-Firehose-Common-Attributes"] = msgspec.json.encode(attributes).decode()
    if endpoint.gzip:
        headers["Content-Encoding"] = "gzip"
        body = await asyncio.to_thread(_gzipped, body)
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            session.post(endpoint.url, data=body, headers=headers, allow_redirects=False, timeout=_OURS) as response,
        ):
            answer = await _read(response)
    except TimeoutError as error:
        raise EndpointError("RequestTimeout", f"The endpoint did not answer within {TIMEOUT_S:g} seconds.") from error
    except (aiohttp.ClientSSLError, ssl.SSLError) as error:
        raise EndpointError("SSLHandshakeFailure", f"No TLS connection with the endpoint: {error}") from error
    except aiohttp.ClientConnectorError as error:
        raise EndpointError("ConnectionFailed", f"The endpoint cannot be reached: {error}") from error
    except (aiohttp.ClientError, ConnectionError, ValueError) as error:
        raise EndpointError("ConnectionReset", f"The connection with the endpoint broke: {error!r}") from error
    _check(response, answer, request_id, lenient=endpoint.lenient)


_OURS = aiohttp.ClientTimeout(total=None)
"""The time is bounded around the whole exchange."""


async def _read(response: aiohttp.ClientResponse) -> bytes:
    answer = bytearray()
    async for part in response.content.iter_chunked(64 << 10):
        answer += part
        if len(answer) > ANSWER_SIZE_MAX:
            raise EndpointError("ResponseTooLarge", f"The endpoint answered more than {ANSWER_SIZE_MAX} bytes.")
    return bytes(answer)


def _check(response: aiohttp.ClientResponse, answer: bytes, request_id: str, *, lenient: bool) -> None:
    shown = answer[:_SHOWN_MAX].decode(errors="replace")
    if response.status != 200:
        raise EndpointError(
            "DestinationException",
            f"Received the following response from the endpoint destination. {response.status} {shown}",
            permanent=response.status == 413,
        )

    if lenient and not answer:
        return

    def invalid(why: str) -> EndpointError:
        return EndpointError(
            "InvalidResponseFromDestination",
            f"The response received from the specified endpoint is invalid: {why}. {shown}",
        )

    if response.content_type != "application/json":
        raise invalid(f"Content-Type is {response.content_type}, not application/json")
    if "Content-Encoding" in response.headers:
        raise invalid("it has a Content-Encoding")
    try:
        told = _answer(answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid(str(error)) from error
    if told.request_id != request_id:
        raise invalid(f"requestId is {told.request_id}, not {request_id}")


def _gzipped(body: bytes) -> bytes:
    compressor = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, 16 + isal_zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush()
