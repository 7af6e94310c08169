"""HTTP/1.1 requests as they come on one connection: bytes in, whole requests or the reason why there are no more out.

httptools parses, and nothing grows without bound: the head of a request by `HEAD_SIZE_MAX` and `HEADERS_MAX`, its body
by `body_size_max`. What breaks a bound or the protocol, or comes too slowly, is refused. Nothing here touches the
socket.
"""

from __future__ import annotations

from collections import deque

import httptools

from gateway.http import Request, Response
from gateway.limits import HEAD_SIZE_MAX, HEADERS_MAX
from gateway.serving import Serving, refusal

_NAMES_MAX = 1024
_names: dict[bytes, str] = {}
"""Header names as sent → lower-case, since callers send the same few again and again."""

_VERSIONS = ("1.1", "1.0")

BETWEEN, HEAD, BODY = range(3)
"""Where in a request the parser stands."""

Received = tuple[Request, bool, bool]
"""A whole request, whether the connection goes on after its answer, and whether it is of HTTP/1.1 (or of 1.0)."""


class RequestParser:
    """`feed` it; what has come whole waits in `requests`, their bodies `requests_size` bytes.

    `ended` when no more requests will come, and then `refusal` is the last answer, if something is wrong.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self.peer = ""
        self.requests: deque[Received] = deque()
        self.requests_size = 0
        self.refusal: Response | None = None
        self.ended = False
        self.phase = BETWEEN
        self.since = serving.now  # when the phase began
        self.awaited = 0  # bytes of the body that are still to come, where its length was told
        self.expects = False  # the caller waits for a word before it sends the body

        self._fed = 0  # bytes fed since the last that were a body's
        self._target = b""
        self._headers: dict[str, str] = {}
        self._header_count = 0
        self._body: list[bytes] = []
        self._body_size = 0
        self._declining = False  # an offer of another protocol, whose body is to be parsed all the same

    def take(self) -> Received:
        """The request that has waited longest."""
        received = self.requests.popleft()
        self.requests_size -= len(received[0].body)
        return received

    def encourage(self) -> bool:
        """Whether the caller is to be told that the body may come: it waits for that, and is told once."""
        if not self.expects or self.phase is not BODY:
            return False
        self.expects = False
        return not self._body_size

    def refuse(self, status: int, message: str) -> None:
        """The last answer of this connection, in its turn."""
        if self.ended:
            return
        self.ended = True
        self._body = []
        self.refusal = refusal(status, message)

    def sweep(self, now: float) -> None:
        """Refuses a request that does not come in time."""
        limits = self._serving.limits
        if self.phase is BODY:
            if now - self.since > limits.body_timeout_s:
                self.refuse(408, f"The request's body did not arrive within {limits.body_timeout_s:g} seconds.")
        elif self.phase is HEAD and now - self.since > limits.head_timeout_s:
            self.refuse(408, f"The request's headers did not arrive within {limits.head_timeout_s:g} seconds.")

    def close(self) -> None:
        """The connection is lost: what waits is given up."""
        self.ended = True
        self._parser = None
        self.requests.clear()

    def feed(self, data: bytes | memoryview) -> None:
        """The next bytes that were received."""
        self._fed += len(data)
        while True:
            parser = self._parser
            assert parser is not None
            try:
                parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                # The offer to speak something else is not taken up: what follows is HTTP/1.1.
                data = data[offer.args[0] :]
                if self.ended:
                    return
                if self._declining:
                    self._decline(parser)
                if len(data):
                    continue
            except httptools.HttpParserError as error:
                self.refuse(400, f"The request is not HTTP/1.1: {error}.")
                return
            break
        if self._fed > HEAD_SIZE_MAX:
            self.refuse(431, f"The request's line and headers exceed {HEAD_SIZE_MAX} bytes.")

    def _decline(self, parser: httptools.HttpRequestParser) -> None:
        """httptools takes the body behind an offer for the other protocol's first bytes, as if the request had none. So
        the body is parsed anew, behind a head that frames it alike and offers nothing."""
        headers = self._headers
        framing = "Content-Length: " + headers["content-length"] if self.awaited else "Transfer-Encoding: chunked"
        connection = "keep-alive" if parser.should_keep_alive() else "close"
        method, version = parser.get_method().decode("latin-1"), parser.get_http_version()
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(f"{method} / HTTP/{version}\r\nConnection: {connection}\r\n{framing}\r\n\r\n".encode())
        self._declining = False

    # What httptools calls ---------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._declining:
            return
        self.phase = HEAD
        self.since = self._serving.now
        self._target = b""
        self._headers = {}
        self._header_count = 0
        self.expects = False

    def on_url(self, part: bytes) -> None:
        if self._declining:
            return
        self._target = self._target + part if self._target else part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        if self._header_count > HEADERS_MAX:
            self.refuse(431, f"The request has more than {HEADERS_MAX} headers.")
            return
        if self.phase is not HEAD:
            return  # a trailer of a chunked body
        key = _names.get(name) or _lower(name)
        headers = self._headers
        if key in headers:
            headers[key] += ", " + value.decode("latin-1")
        else:
            headers[key] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._declining:
            return
        parser, headers = self._parser, self._headers
        assert parser is not None
        self.phase = BODY
        self.since = self._serving.now
        self._body_size = 0
        size = headers.get("content-length")
        # The parser has refused what is not one number.
        self.awaited = int(size) if size else 0
        coding = headers.get("transfer-encoding")
        if coding is not None and (coding.strip().lower() != "chunked" or parser.get_http_version() != "1.1"):
            self.refuse(400, "The only coding of a request's body is chunked, and that in HTTP/1.1.")
        elif self.awaited > self._serving.limits.body_size_max:
            self._refuse_body()
        elif parser.should_upgrade():
            if parser.get_method() == b"CONNECT":
                self.refuse(400, "Tunnels (CONNECT) are not offered here.")
            self._declining = not self.ended and (self.awaited > 0 or coding is not None)
        if not self.ended and "expect" in headers and headers["expect"].lower() == "100-continue":
            self.expects = True

    def on_chunk_header(self) -> None:
        self._fed = 0

    def on_body(self, part: bytes) -> None:
        self._fed = 0
        if self.ended:
            return
        self._body.append(part)
        self._body_size += len(part)
        self.awaited -= len(part)
        if self._body_size > self._serving.limits.body_size_max:
            self._refuse_body()

    def on_message_complete(self) -> None:
        if self.ended or self._declining:
            return
        parser = self._parser
        assert parser is not None
        version = parser.get_http_version()
        if version not in _VERSIONS:
            self.refuse(400, f"The request is not HTTP/1.1: it says HTTP/{version}.")
            return
        body = self._body
        whole = body[0] if len(body) == 1 else b"".join(body)
        self._body = []
        self.phase = BETWEEN
        self._fed = 0
        self.awaited = 0
        request = Request(
            parser.get_method().decode("latin-1"), self._target.decode("latin-1"), self._headers, whole, self.peer
        )
        keep = parser.should_keep_alive()
        self.requests.append((request, keep, version == "1.1"))
        self.requests_size += len(whole)
        if not keep:
            self.ended = True

    def _refuse_body(self) -> None:
        self.refuse(413, f"The request's body exceeds {self._serving.limits.body_size_max} bytes.")


def _lower(name: bytes) -> str:
    text = name.decode("latin-1").lower()
    if len(_names) < _NAMES_MAX:
        _names[name] = text
    return text
