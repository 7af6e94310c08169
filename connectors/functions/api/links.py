"""Links to the archives of code, as GetFunction answers them: whoever has one may download for ten minutes.

Whoever knows the secret takes them back: all processes that share a log, also after a restart.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import parse_qs, urlencode

from streams.core.clock import Clock
from streams.core.errors import AccessDenied

VALID_S = 600
"""As long as AWS's links are."""

_PATH = re.compile(r"/2015-03-31/code/([0-9a-f]{64})\.zip")

GONE = "The link to the code is not valid, or no longer: ask GetFunction for another one."


class Links:
    """Paths with a time and a signature."""

    def __init__(self, clock: Clock, secret: bytes) -> None:
        self._clock = clock
        self._secret = secret

    def link(self, code: str) -> str:
        """The path and query for the archive whose SHA-256 is `code`, in hexadecimal."""
        until = self._clock.now_ms() // 1000 + VALID_S
        return f"/2015-03-31/code/{code}.zip?" + urlencode({"until": until, "signature": self._sign(code, str(until))})

    def code(self, path: str, query: str) -> str | None:
        """The archive that a link is for; None for a path that is no link. Raises `AccessDenied`."""
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        asked = parse_qs(query)
        until, signature = asked.get("until", [""])[0], asked.get("signature", [""])[0]
        expected = self._sign(match[1], until)
        if not hmac.compare_digest(expected.encode(), signature.encode()) or int(until) < self._clock.now_ms() // 1000:
            raise AccessDenied(GONE)
        return match[1]

    def _sign(self, code: str, until: str) -> str:
        return hmac.new(self._secret, f"{code}\0{until}".encode(), hashlib.sha256).hexdigest()
