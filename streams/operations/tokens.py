"""Opaque texts that we give out and want back: shard iterators and paging tokens. Stateless, authenticated, short.

    token    = base64(version purpose payload tag)
    version  = 8 bytes, 1, big-endian
    purpose  = 1 byte
    payload  = what the purpose says
    tag      = 16 bytes, keyed BLAKE2b of everything before

The key lives in the control journal, so a token outlives a restart. One bit changed, or a token of another purpose, and
there is no token.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from hashlib import blake2b

from streams.core.errors import ExpiredNextToken, InvalidArgument

_VERSION = (1).to_bytes(8, "big")
_TAG_SIZE = 16

PAGE_EXPIRY_MS = 300_000
"""How long a NextToken may be used: AWS's."""


class Tokens:
    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, purpose: bytes, payload: bytes) -> str:
        body = _VERSION + purpose + payload
        return base64.b64encode(body + self._tag(body)).decode()

    def open(self, purpose: bytes, text: str) -> bytes | None:
        """The payload; None where `text` is no token of this purpose made with this key."""
        try:
            token = base64.b64decode(text.encode(), validate=True)
        except (binascii.Error, ValueError):
            return None
        body, tag = token[:-_TAG_SIZE], token[-_TAG_SIZE:]
        head = _VERSION + purpose
        if not body.startswith(head) or not hmac.compare_digest(tag, self._tag(body)):
            return None
        return body[len(head) :]

    def seal_page(self, purpose: bytes, payload: bytes, now_ms: int) -> str:
        """A NextToken: the payload after the time of issue, 8 bytes of milliseconds."""
        return self.seal(purpose, now_ms.to_bytes(8, "big") + payload)

    def open_page(self, purpose: bytes, text: str, now_ms: int) -> bytes:
        """Raises `InvalidArgument` for a text that was not issued here, `ExpiredNextToken` for an old one."""
        payload = self.open(purpose, text)
        if payload is None:
            raise InvalidArgument("Invalid NextToken.")
        if now_ms - int.from_bytes(payload[:8], "big") > PAGE_EXPIRY_MS:
            raise ExpiredNextToken(
                f"NextToken expired. It may be used for {PAGE_EXPIRY_MS} milliseconds after it was given out."
            )
        return payload[8:]

    def _tag(self, body: bytes) -> bytes:
        return blake2b(body, key=self._key, digest_size=_TAG_SIZE).digest()
