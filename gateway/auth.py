"""Who may call: signatures are checked when the settings name credentials; without any, only this machine may."""

from __future__ import annotations

import ipaddress
import re

from gateway.http import Request
from streams.core.clock import Clock
from streams.core.errors import AccessDenied, RequestError, SettingsError
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.wire.protocol import check_body
from streams.wire.sigv4 import scope_of, verify

_SCOPES_MAX = 1024
"""Scopes that are remembered by the beginning of the Authorization header, which is the same all day for a caller."""

_REGION = re.compile(r"[a-z0-9-]{1,32}")


def check_exposed(settings: Settings) -> None:
    """Raises `SettingsError` where anybody on the network could write without a signature."""
    if not settings.credentials and not is_loopback(settings.host):
        raise SettingsError(
            f"host {settings.host!r} can be reached from other machines, and no credentials are set: anybody could read "
            'and write. Set credentials (in the settings file: [credentials], then KEY_ID = "SECRET"), or listen on '
            "127.0.0.1."
        )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Auth:
    """`scope` says on whose behalf a request acts, or raises what AWS would answer."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._secrets = settings.credentials
        self._default = settings.scope
        self._clock = clock
        self._metrics_open = settings.metrics_open or not settings.credentials
        self._scopes: dict[str, Scope] = {}

    def scope(self, request: Request, service: str | None = None) -> Scope:
        """The account of the settings in the region that the caller signs for. With `service`, the signature has to be
        for that one. Raises `RequestError`: a body that does not parse comes before a signature that is not right."""
        if self._secrets:
            try:
                credential = verify(
                    request.method,
                    request.target,
                    request.headers,
                    request.body,
                    self._secrets.get,
                    self._clock.now_ms(),
                    service,
                )
            except RequestError:
                if service is not None:
                    check_body(request.headers.get("content-type", ""), request.body)
                raise
            return self._in_region(credential.region)
        key = request.headers.get("authorization", "").partition(",")[0]
        known = self._scopes.get(key)
        if known is None or not key:
            named = scope_of(request.headers, request.target)
            known = self._in_region(named.region) if named is not None else self._default
            if key and len(self._scopes) < _SCOPES_MAX:
                self._scopes[key] = known
        return known

    def check_metrics(self, request: Request) -> None:
        """Raises `AccessDenied` where the peer may not read the metrics: Prometheus signs nothing."""
        if not self._metrics_open and not is_loopback(request.peer):
            raise AccessDenied("/metrics is for this machine only; metrics_open = true opens it to others.")

    def _in_region(self, region: str) -> Scope:
        return Scope(self._default.account, region) if _REGION.fullmatch(region) else self._default
