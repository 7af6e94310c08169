"""What a caller may do: the policies of its key, and the policy of the resource.

Within an account either may allow; across accounts both must. A deny of either wins. Keys without policies may do
everything in their account, but for what a resource's policy denies them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from gateway.principals import Principal
from streams.core.errors import AccessDenied
from streams.core.policy import Attempt, Statement, parse, verdict

EVERYTHING = "*"
"""The resource of what concerns none: ListStreams and its like."""


class Permissions:
    """`policy_of` gives the policy of a resource, by ARN, as JSON text."""

    def __init__(self, policy_of: Callable[[str], str | None]) -> None:
        self._policy_of = policy_of

    def check(self, principal: Principal, action: str, resource: str, context: Callable[[], Mapping[str, str]]) -> None:
        """`context` gives what conditions may ask for. Raises `AccessDenied`."""
        text = None if resource == EVERYTHING else self._policy_of(resource)
        theirs = account_of(resource) not in ("", principal.account)
        if text is None and principal.statements is None and not theirs:
            return
        attempt = Attempt(principal.arn, principal.account, action, resource, context())
        by_key = "allow" if principal.statements is None else verdict(principal.statements, attempt)
        by_resource = None if text is None else verdict(_parsed(text), attempt)
        if by_key == "deny":
            raise _denied(attempt, "with an explicit deny in an identity-based policy")
        if by_resource == "deny":
            raise _denied(attempt, "with an explicit deny in a resource-based policy")
        if by_key is None and (theirs or by_resource is None):
            raise _denied(attempt, f"because no identity-based policy allows the {action} action")
        if theirs and by_resource is None:
            raise _denied(attempt, f"because no resource-based policy allows the {action} action")


def account_of(arn: str) -> str:
    """The account that owns a resource; empty where the ARN names none."""
    parts = arn.split(":", 5)
    return parts[4] if len(parts) == 6 else ""


@lru_cache(256)
def _parsed(text: str) -> tuple[Statement, ...]:
    """One that was kept before policies were looked at, and that we cannot read, allows nothing."""
    try:
        return parse(text)
    except ValueError:
        return ()


def _denied(attempt: Attempt, why: str) -> AccessDenied:
    return AccessDenied(
        f"User: {attempt.principal} is not authorized to perform: {attempt.action} on resource: {attempt.resource} {why}"
    )
