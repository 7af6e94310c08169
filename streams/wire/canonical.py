"""The canonical request of Signature Version 4, and the signature over it: what caller and server compute alike.

POST                                        method
/                                           path, encoded once more than it is sent
a=1&b=2                                     query, sorted
host:127.0.0.1:4567                         signed headers, each on its line, trimmed
x-amz-date:20261125T103000Z

host;x-amz-date                             their names
44136fa355b3678a1146ad16f7e8649e94fb4fc2…   SHA-256 of the body
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"

SIGNING_KEYS_MAX = 1024
"""Derived keys that are remembered: one a day for each key, region and service in use; deriving one costs ten µs."""


_BLANKS = re.compile("[ \t]+")


class Credential(NamedTuple):
    """Who signed, and the scope that they signed for. `date` is ``20261125``."""

    access_key: str
    date: str
    region: str
    service: str


def canonical_request(
    method: str, path: str, query: str, headers: Mapping[str, str], signed: tuple[str, ...], digest: str
) -> bytes:
    lines = [method.upper(), canonical_path(path), query]
    for name in signed:
        value = headers.get(name, "")
        if "  " in value or "\t" in value:
            value = _BLANKS.sub(" ", value)
        lines.append(f"{name}:{value.strip(' ')}")
    lines += ("", ";".join(signed), digest)
    text = "\n".join(lines)
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def canonical_path(path: str) -> str:
    """Dot segments and empty segments resolved, then encoded once more than it was sent."""
    if path == "/":
        return path
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            if kept:
                kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    canonical = "/" + "/".join(kept) + ("/" if path.endswith("/") and kept else "")
    return quote(canonical.encode("utf-8", "surrogatepass"), safe="/~")


def canonical_query(query: str) -> str:
    """As sent, sorted: what botocore signs."""
    if not query:
        return ""
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&"))
    return "&".join(f"{name}={value}" for name, value in pairs)


def canonical_query_again(query: str) -> str:
    """Decoded and encoded anew, then sorted: what the specification says, for queries that were sent encoded loosely."""
    pairs = [pair.partition("=")[::2] for pair in query.split("&") if pair]
    return "&".join(
        f"{name}={value}" for name, value in sorted((_encoded(name), _encoded(value)) for name, value in pairs)
    )


def _encoded(text: str) -> str:
    return quote(unquote(text, errors="surrogateescape").encode("utf-8", "surrogateescape"), safe="-_.~")


def scope(credential: Credential) -> str:
    return f"{credential.date}/{credential.region}/{credential.service}/{TERMINATOR}"


def string_to_sign(credential: Credential, time: str, canonical: bytes) -> str:
    return f"{ALGORITHM}\n{time}\n{scope(credential)}\n{hashlib.sha256(canonical).hexdigest()}"


def signature(secret: str, credential: Credential, time: str, canonical: bytes) -> str:
    text = string_to_sign(credential, time, canonical)
    key = signing_key(secret, credential.date, credential.region, credential.service)
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256").hex()


@lru_cache(maxsize=SIGNING_KEYS_MAX)
def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode("utf-8", "surrogatepass"), "sha256")
    return key
