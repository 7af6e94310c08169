"""TLS as the settings ask for it: off, certificates of one's own, or certificates made here."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

from streams.core.clock import Clock
from streams.core.errors import SettingsError
from streams.core.settings import Settings

FOLDER = "tls"
"""In the data directory: what ``tls = "auto"`` makes."""


class Tls:
    """`context` is what the server listens with; None for plain sockets. It offers HTTP/2 and HTTP/1.1, TLS 1.2 and later.

    Raises `SettingsError`: which file, and what is wrong with it.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        pair = _pair(settings, clock)
        self.context = None if pair is None else _context(*pair)

    def reload(self) -> None:
        """Connections from now on are shown the certificate as it is now, a new one where the old is about to end.

        Raises `SettingsError`; then they are shown the one from before.
        """
        if self.context is None:
            return
        pair = _pair(self._settings, self._clock)
        assert pair is not None, "the settings do not change"
        # A pair that does not fit would leave the context without a key: it is tried on another one first.
        _context(*pair)
        self.context.load_cert_chain(*pair)


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["h2", "http/1.1"])
    try:
        made.load_cert_chain(certificate, key)
    except FileNotFoundError as error:
        missing = next((path for path in (certificate, key) if not path.exists()), certificate)
        raise SettingsError(f"tls: {missing} does not exist") from error
    except (ssl.SSLError, OSError) as error:
        raise SettingsError(f"tls: {certificate} and {key} are no certificate and its key (PEM): {error}") from error
    return made


def _pair(settings: Settings, clock: Clock) -> tuple[Path, Path] | None:
    """The certificate and its key."""
    named = [settings.tls_certificate, settings.tls_key]
    if settings.tls == "off":
        if any(named):
            raise SettingsError('tls_certificate and tls_key are set, and tls is "off": set tls = "files"')
        return None
    if settings.tls == "files":
        if not all(named):
            raise SettingsError('tls = "files" needs tls_certificate and tls_key, each the path of a PEM file')
        return Path(settings.tls_certificate), Path(settings.tls_key)
    if any(named):
        raise SettingsError(
            'tls = "auto" makes its own certificate: for tls_certificate and tls_key, set tls = "files"'
        )
    from gateway import certificates

    now = dt.datetime.fromtimestamp(clock.now_ms() / 1000, dt.UTC)
    names = [] if settings.host in ("0.0.0.0", "::") else [settings.host]
    return certificates.ensure(settings.data_path / FOLDER, names, now)
