"""What a server has delivered, asked at its native door."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from connectors.delivered.contract import PATH, Contents, Index, decode_contents, decode_index
from streams.core.errors import InternalFailure
from streams.sdk.http import HttpClient


class RemoteDeliveries:
    """`connectors.delivered.archive.Deliveries` through a client."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    async def index(self, delivery_stream: str) -> Index:
        answer = await self._client.load(f"{PATH}{quote(delivery_stream, safe='')}")
        try:
            return decode_index(answer)
        except msgspec.DecodeError as error:
            raise InternalFailure(f"the server's answer about {delivery_stream} makes no sense: {error}") from error

    async def contents(self, delivery_stream: str, place: str) -> Contents:
        path = f"{PATH}{quote(delivery_stream, safe='')}/contents?place={quote(place, safe='')}"
        try:
            return decode_contents(await self._client.load(path))
        except msgspec.DecodeError as error:
            raise InternalFailure(f"the server's answer about {delivery_stream} makes no sense: {error}") from error
