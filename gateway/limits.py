"""What one caller may cost: every bound of the HTTP server, with its reason."""

from __future__ import annotations

from dataclasses import dataclass

HEAD_SIZE_MAX = 32 << 10
"""Bytes of a request's line and headers: a presigned target and a long session token are 10 KiB together."""

HEADERS_MAX = 100
"""Headers of one request: SDKs send twenty."""

PIPELINE_MAX = 32
"""Requests of one HTTP/1.1 connection that wait for their turn; then it is not read from until half are answered."""

PIPELINE_SIZE_MAX = 1 << 20
"""Bytes of bodies that wait for their turn on one HTTP/1.1 connection, likewise."""

WRITE_SIZE_MAX = 256 << 10
"""Bytes that wait in a connection's write buffer before whoever produces more has to wait: some round trips' worth."""

STREAMS_MAX = 256
"""Open HTTP/2 streams of one connection. The Java SDK subscribes to every shard over one connection."""

RUNNING_MAX = 64
"""HTTP/2 requests of one connection that are worked on at once; the others wait, read already."""

OUTGOING_SIZE_MAX = 64 << 20
"""Bytes of whole answers that one HTTP/2 connection has not taken yet, beyond which its next requests wait."""

CONTROL_SIZE_MAX = 4 << 20
"""Bytes in the write buffer of an HTTP/2 connection beyond which its peer asks without ever listening."""

RESETS_MAX = 1000
"""HTTP/2 streams that one connection may reset within `RESETS_PERIOD_S`: opening and cancelling costs us more than it
costs the caller. A reader that gives up all its subscriptions at once resets a few hundred."""

RESETS_PERIOD_S = 10.0

WINDOW_SIZE = 4 << 20
"""Receive window of one HTTP/2 stream: an upload of a full PutRecords (5 MiB) hardly waits for a round trip."""

CONNECTION_WINDOW_SIZE = 32 << 20
"""Receive window of a whole HTTP/2 connection."""

BACKLOG = 1024
"""Connections that wait to be accepted: the JavaScript SDK opens one for every event stream, all at once."""

CONNECTIONS_MAX = 16_384
"""Open connections. Each costs some 10 KiB and a file descriptor."""

KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES = 60, 20, 3
"""TCP's own question to a silent peer: a machine that is switched off while it follows an idle stream over HTTP/1.1, for
which nothing is written, is noticed after two minutes."""

GOODBYE_S = 0.25
"""How long a TLS peer to whom all is sent may take to answer that the connection is closed. It need not (RFC 8446, 6.1),
and an SDK whose connection lies idle does not: a server that stops would wait for it."""


@dataclass(frozen=True)
class Limits:
    """The bounds that are settings, or that tests make small. Bytes and seconds."""

    body_size_max: int = 64 << 20
    body_timeout_s: float = 60.0
    """From the end of a request's headers to the end of its body."""
    head_timeout_s: float = 20.0
    """From the first byte of a request, or from the connection, to the end of the headers."""
    idle_timeout_s: float = 300.0
    """Between requests: longer than SDKs keep a connection, since one that they find closed costs them a retry."""
    write_timeout_s: float = 120.0
    """Without a byte taken by a reader for whom something is ready."""
    ping_interval_s: float = 30.0
    """Silence of an HTTP/2 peer with open streams after which it is asked whether it lives; after three, it does not."""
    linger_s: float = 5.0
    """How long what a refused caller still sends is read and thrown away, so that it comes to read the refusal."""
