"""One HTTP/2 stream: its request as it comes, and where its answer stands."""

from __future__ import annotations

import asyncio

from gateway.http import Request


class Stream:
    """`open` until the connection forgets it: nothing is sent on it afterwards."""

    __slots__ = (
        "_body",
        "_headers",
        "answering",
        "id",
        "open",
        "running",
        "since",
        "size",
        "streaming",
        "task",
        "waits_since",
        "window",
    )

    def __init__(self, number: int, headers: list[tuple[bytes, bytes]], now: float) -> None:
        self.id = number
        self.open = True
        self._headers = headers
        self._body: list[bytes] = []
        self.size = 0  # bytes of the body that are held
        self.since = now
        self.answering = False  # no more of the request is wanted
        self.running = False  # the handler works on it
        self.streaming = False
        self.task: asyncio.Task[None] | None = None
        self.window: asyncio.Future[None] | None = None
        self.waits_since = 0.0

    def take(self, data: bytes) -> None:
        """The next bytes of the request's body."""
        self._body.append(data)
        self.size += len(data)

    def drop_body(self) -> int:
        """How many bytes are not held any more."""
        size = self.size
        self.size, self._body = 0, []
        return size

    def request(self, peer: str) -> Request:
        """What has been received, as the request of `peer`."""
        headers: dict[str, str] = {}
        for name_sent, value_sent in self._headers:
            name, value = name_sent.decode("latin-1"), value_sent.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        method = headers.pop(":method", "")
        target = headers.pop(":path", "")
        authority = headers.pop(":authority", "")
        headers.pop(":scheme", None)
        if authority:
            headers.setdefault("host", authority)
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        return Request(method, target, headers, body, peer)

    def widen(self) -> None:
        """Its window or the connection's has grown: whoever waits to send on it looks again."""
        if self.window is not None and not self.window.done():
            self.window.set_result(None)
