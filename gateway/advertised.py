"""The URL at which other machines reach this process, where nobody has said it."""

from __future__ import annotations

import contextlib
import socket
from urllib.parse import urlsplit

_EVERYWHERE = ("0.0.0.0", "::")


def advertised(log: str, host: str, port: int, *, secure: bool) -> str:
    """`host` is what is listened on; where that is every address, the one from which the brokers of `log` are reached."""
    if host in _EVERYWHERE:
        first = urlsplit(f"//{urlsplit(log).netloc.split(',')[0].rpartition('@')[2]}")
        host = _address_towards(first.hostname or "", first.port or 0) or socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if secure else 'http'}://{shown}:{port}"


def _address_towards(host: str, port: int) -> str | None:
    """Of this machine, as its routes say. Nothing is sent."""
    with contextlib.suppress(OSError):
        for family, kind, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
            with socket.socket(family, kind) as probe:
                probe.connect(address)
                return str(probe.getsockname()[0])
    return None
