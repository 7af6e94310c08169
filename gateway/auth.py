"""Who may call: signatures are checked when the settings name credentials; without any, only this machine may."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple

from gateway import principals
from gateway.http import Request
from gateway.permissions import EVERYTHING, Permissions
from gateway.principals import Principal
from gateway.quotas import Quotas
from streams.core.clock import Clock
from streams.core.errors import AccessDenied, RequestError, SettingsError
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.wire.protocol import check_body
from streams.wire.sigv4 import Secret, scope_of, verify

_SCOPES_MAX = 1024
"""Scopes that are remembered by the beginning of the Authorization header, which is the same all day for a caller."""

_REGION = re.compile(r"[a-z0-9-]{1,32}")


def check_exposed(settings: Settings) -> None:
    """Raises `SettingsError` where anybody on the network could write without a signature."""
    if not settings.credentials and not settings.credentials_file and not is_loopback(settings.host):
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


class Caller(NamedTuple):
    """On whose behalf a request acts. `principal` None: signatures are not checked, and everything is allowed."""

    scope: Scope
    principal: Principal | None


class Auth:
    """`caller` says who asks, `permit` whether they may; both raise what AWS would answer.

    `policy_of` gives the policy of a resource, by ARN, as JSON text. Raises `SettingsError` where the credentials are not
    right.
    """

    def __init__(
        self, settings: Settings, clock: Clock, policy_of: Callable[[str], str | None] = lambda _: None
    ) -> None:
        self._settings = settings
        self._principals = principals.load(settings)
        self._checks = bool(self._principals) or bool(settings.credentials_file)
        self._default = settings.scope
        self._clock = clock
        self._permissions = Permissions(policy_of)
        self._quotas = Quotas(clock)
        self._metrics_open = settings.metrics_open or not self._checks
        self._scopes: dict[str, Scope] = {}

    def reload(self) -> None:
        """Reads the credentials file again. Raises `SettingsError`; what was in force then stays."""
        self._principals = principals.load(self._settings)

    def caller(self, request: Request, service: str | None = None) -> Caller:
        """In the region that the caller signs for. With `service`, the signature has to be for that one. Raises
        `RequestError`: a body of an operation that does not parse comes before a signature that is not right."""
        if not self._checks:
            return Caller(self._unsigned(request), None)
        try:
            credential = verify(
                request.method,
                request.target,
                request.headers,
                request.body,
                self._secret,
                self._clock.now_ms(),
                service,
            )
        except RequestError:
            if "x-amz-target" in request.headers:
                check_body(request.headers.get("content-type", ""), request.body)
            raise
        principal = self._principals[credential.access_key]
        region = credential.region if _REGION.fullmatch(credential.region) else self._default.region
        return Caller(Scope(principal.account, region), principal)

    def permit(self, caller: Caller, action: str, resource: str | None, request: Request) -> None:
        """Raises `AccessDenied`, or that the caller asks too much."""
        principal = caller.principal
        if principal is None:
            return
        self._permissions.check(principal, action, resource or EVERYTHING, lambda: self._context(principal, request))
        self._quotas.take(principal, action, len(request.body))

    def check_metrics(self, request: Request) -> None:
        """Raises `AccessDenied` where the peer may not read the metrics: Prometheus signs nothing."""
        if not self._metrics_open and not is_loopback(request.peer):
            raise AccessDenied("/metrics is for this machine only; metrics_open = true opens it to others.")

    def _context(self, principal: Principal, request: Request) -> dict[str, str]:
        """What the conditions of policies may ask for."""
        context = {
            "aws:principalarn": principal.arn,
            "aws:principalaccount": principal.account,
            "aws:username": principal.arn.rpartition("/")[2],
            "aws:securetransport": "false" if self._settings.tls == "off" else "true",
        }
        if request.peer:
            context["aws:sourceip"] = request.peer
        return context

    def _secret(self, access_key: str) -> Secret | None:
        principal = self._principals.get(access_key)
        return None if principal is None else principal.secret

    def _unsigned(self, request: Request) -> Scope:
        key = request.headers.get("authorization", "").partition(",")[0]
        known = self._scopes.get(key)
        if known is None or not key:
            named = scope_of(request.headers, request.target)
            known = self._default
            if named is not None and _REGION.fullmatch(named.region):
                known = Scope(self._default.account, named.region)
            if key and len(self._scopes) < _SCOPES_MAX:
                self._scopes[key] = known
        return known
