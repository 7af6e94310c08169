"""Decisions about an account's settings, as pure functions: the minimum throughput billing commitment.

Nothing is billed here; the commitment is what AWS asks for before a stream may have warm throughput.
"""

from __future__ import annotations

from typing import Literal

from streams.control.catalog import Account, Catalog
from streams.control.decisions import Decision
from streams.control.events import AccountChanged
from streams.core.scope import Scope

COMMITMENT_MS = 24 * 3_600_000
"""How long a commitment lasts at least: AWS's."""

Status = Literal["ENABLED", "DISABLED", "ENABLED_UNTIL_EARLIEST_ALLOWED_END"]


def commit(catalog: Catalog, now_ms: int, scope: Scope, enabled: bool) -> Decision[None]:
    """The commitment begins, or ends as soon as it may."""
    account = catalog.accounts.get(scope)
    running = account is not None and account.ended_ms is None
    if running == enabled:
        return Decision(None)
    return Decision(
        None, (AccountChanged(at_ms=now_ms, account=scope.account, region=scope.region, committed=enabled),)
    )


def status(account: Account | None, now_ms: int) -> Status:
    if account is None:
        return "DISABLED"
    if account.ended_ms is None:
        return "ENABLED"
    return "ENABLED_UNTIL_EARLIEST_ALLOWED_END" if now_ms < earliest_end_ms(account) else "DISABLED"


def earliest_end_ms(account: Account) -> int:
    return account.started_ms + COMMITMENT_MS
