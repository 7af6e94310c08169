"""The callers that the settings and the credentials file name: their keys, and what they may do."""

from __future__ import annotations

import logging
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from streams.core.errors import SettingsError
from streams.core.policy import Statement
from streams.core.settings import Credential, Permission, Settings
from streams.wire.sigv4 import Secret

_logger = logging.getLogger("headrace.gateway")


@dataclass(frozen=True, slots=True)
class Principal:
    """`statements` None: everything."""

    access_key: str
    secret: Secret
    account: str
    arn: str
    statements: tuple[Statement, ...] | None
    requests_per_s: float | None
    bytes_per_s: float | None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may stand in the credentials file."""

    credentials: dict[str, str | Credential] = {}
    policies: dict[str, tuple[Permission, ...]] = {}


def load(settings: Settings) -> dict[str, Principal]:
    """By access key id. Raises `SettingsError`: which key or policy, and what is wrong with it."""
    file = _read(Path(settings.credentials_file)) if settings.credentials_file else _File()
    twice = sorted(set(settings.credentials) & set(file.credentials) | set(settings.policies) & set(file.policies))
    if twice:
        raise SettingsError(f"credentials_file: {twice[0]} stands in the settings too; one of them is enough")
    policies = {name: _statements(name, given) for name, given in {**settings.policies, **file.policies}.items()}
    credentials = {**settings.credentials, **file.credentials}
    return {key: _principal(settings, key, given, policies) for key, given in credentials.items()}


def _read(path: Path) -> _File:
    try:
        text = path.read_text()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"credentials_file: {path} cannot be read: {error}") from error
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        _logger.warning("credentials_file: %s holds secrets and can be read by others: chmod 600", path)
    try:
        return msgspec.convert(tomllib.loads(text), _File, strict=False)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"credentials_file: {path} is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise SettingsError(f"credentials_file: {path}: {error}") from error


def _statements(name: str, given: tuple[Permission, ...]) -> tuple[Statement, ...]:
    for one in given:
        for action in one.actions:
            if action != "*" and ":" not in action:
                raise SettingsError(f"policy {name}: the action {action!r} has no service, as in 'kinesis:PutRecord*'")
        for resource in one.resources:
            if resource != "*" and not resource.startswith("arn:"):
                raise SettingsError(
                    f"policy {name}: the resource {resource!r} is no pattern of ARNs, as in "
                    "'arn:aws:kinesis:*:*:stream/orders-*'"
                )
    return tuple(Statement(one.effect, one.actions, one.resources) for one in given)


def _principal(
    settings: Settings, key: str, given: str | Credential, policies: dict[str, tuple[Statement, ...]]
) -> Principal:
    credential = given if isinstance(given, Credential) else Credential(secret=given)
    statements: tuple[Statement, ...] | None = None
    if credential.policies is not None:
        unknown = [name for name in credential.policies if name not in policies]
        if unknown:
            raise SettingsError(
                f"credentials: {key} names the policy {unknown[0]!r}, and there is none; the policies are "
                f"{', '.join(sorted(policies)) or '(none)'}"
            )
        statements = tuple(one for name in credential.policies for one in policies[name])
    if credential.expires is not None and not credential.token:
        raise SettingsError(f"credentials: {key} expires, and has no token: only temporary keys end")
    if credential.expires is not None and credential.expires.tzinfo is None:
        raise SettingsError(f"credentials: {key} expires at a time without a zone: write it as 2030-01-01T00:00:00Z")
    expires_ms = None if credential.expires is None else round(credential.expires.timestamp() * 1000)
    account = credential.account or settings.account
    return Principal(
        access_key=key,
        secret=Secret(credential.secret, credential.token, expires_ms),
        account=account,
        arn=f"arn:aws:iam::{account}:user/{credential.user or key}",
        statements=statements,
        requests_per_s=credential.requests_per_s,
        bytes_per_s=None if credential.mib_per_s is None else credential.mib_per_s * (1 << 20),
    )
