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


def context(settings: Settings, clock: Clock) -> ssl.SSLContext | None:
    """What the server listens with; None for plain sockets. Offers HTTP/2 and HTTP/1.1, TLS 1.2 and later.

    Raises `SettingsError`: which file, and what is wrong with it.
    """
    pair = _pair(settings, clock)
    if pair is None:
        return None
    certificate, key = pair
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
