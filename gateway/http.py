"""What the server hands to the application, and what it gets back: the seam of `gateway/server.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Request:
    """One HTTP request, its body whole.

    `headers` have lower-case names; repeated headers are joined with ", ". `target` is the path and query as sent,
    percent-encoding untouched (signatures are made over it).
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    peer: str = ""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


@dataclass(slots=True)
class Response:
    """The answer: a body in one piece, or one that is produced as the reader takes it (the iterator is closed when the
    reader goes away, so its ``finally`` runs)."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | AsyncIterator[bytes] = b""


Handler = Callable[[Request], Awaitable[Response]]
"""Never raises: the application turns every error into a response."""
