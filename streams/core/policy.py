"""Policies: who may do what to which resource. Documents in IAM's language, and statements of the settings file.

A document is ``{"Version", "Statement": [{"Sid", "Effect", "Principal", "Action" | "NotAction", "Resource" |
"NotResource", "Condition"}]}``, where lists of one may be the one. Patterns know ``*`` and ``?``; actions are compared
without regard to case. What a document says and we cannot evaluate is refused when it is put, never passed over.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

Verdict = Literal["allow", "deny"]

CONDITION_KEYS = ("aws:principalarn", "aws:principalaccount", "aws:username", "aws:sourceip", "aws:securetransport")
"""What conditions may ask for, in lower case."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody wants to do `action` (``kinesis:PutRecord``) to `resource` (an ARN, or ``*`` where there is none).

    `principal` is the caller's ARN, `account` the caller's; `context` has a text for each of `CONDITION_KEYS` that is
    known of the request.
    """

    principal: str
    account: str
    action: str
    resource: str
    context: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Condition:
    """One line of a Condition block: true where the context's `key` fits any of `values`."""

    operator: str
    key: str
    values: tuple[str, ...]

    def holds(self, context: Mapping[str, str]) -> bool:
        operator, if_exists = self.operator.removesuffix("ifexists"), self.operator.endswith("ifexists")
        value = context.get(self.key)
        if value is None:
            return if_exists or operator in _NEGATED
        fits = any(_OPERATORS[_NEGATED.get(operator, operator)](value, wanted) for wanted in self.values)
        return fits != (operator in _NEGATED)


@dataclass(frozen=True, slots=True)
class Statement:
    """`principals` None: whoever the policy belongs to. `not_actions` and `not_resources` turn their patterns round."""

    effect: Verdict
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    principals: tuple[str, ...] | None = None
    conditions: tuple[Condition, ...] = ()
    not_actions: bool = False
    not_resources: bool = False

    def applies(self, attempt: Attempt) -> bool:
        action = attempt.action.lower()
        return (
            any(_fits(one.lower(), action) for one in self.actions) != self.not_actions
            and any(_fits(one, attempt.resource) for one in self.resources) != self.not_resources
            and (self.principals is None or any(_is(one, attempt) for one in self.principals))
            and all(one.holds(attempt.context) for one in self.conditions)
        )


def verdict(statements: Iterable[Statement], attempt: Attempt) -> Verdict | None:
    """A deny wins over every allow; None where nothing applies."""
    found: Verdict | None = None
    for statement in statements:
        if statement.effect != found and statement.applies(attempt):
            if statement.effect == "deny":
                return "deny"
            found = "allow"
    return found


def parse(text: str) -> tuple[Statement, ...]:
    """The statements of a resource policy, each with its principals. Raises `ValueError` with a sentence."""
    try:
        document = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"The policy is not JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("Statement"), list | dict):
        raise ValueError("The policy is not an object with a Statement.")
    unknown = set(document) - {"Version", "Id", "Statement"}
    if unknown:
        raise ValueError(f"The policy has an unknown member {min(unknown)}.")
    statements = document["Statement"]
    return tuple(
        _statement(one, f"Statement {place}")
        for place, one in enumerate(statements if isinstance(statements, list) else [statements], 1)
    )


_MEMBERS = {
    "Sid",
    "Effect",
    "Principal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
}


def _statement(value: Any, where: str) -> Statement:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not an object.")
    unknown = set(value) - _MEMBERS
    if unknown:
        raise ValueError(f"{where} has a member {min(unknown)}, which is not known here.")
    effect = value.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise ValueError(f"The Effect of {where} is neither Allow nor Deny.")
    actions, not_actions = _either(value, "Action", where)
    resources, not_resources = _either(value, "Resource", where)
    if any(":" not in one and one != "*" for one in actions):
        raise ValueError(f"An Action of {where} has no service, as in kinesis:PutRecord.")
    return Statement(
        "allow" if effect == "Allow" else "deny",
        actions,
        resources,
        _principals(value.get("Principal"), where),
        _conditions(value.get("Condition", {}), where),
        not_actions,
        not_resources,
    )


def _either(value: Mapping[str, Any], name: str, where: str) -> tuple[tuple[str, ...], bool]:
    """`name` or Not`name`, and whether it is the latter."""
    negated = f"Not{name}"
    if (name in value) == (negated in value):
        raise ValueError(f"{where} has not one of {name} and {negated}.")
    return _texts(value[name] if name in value else value[negated], f"The {name} of {where}"), negated in value


def _texts(value: Any, what: str) -> tuple[str, ...]:
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(one, str) for one in texts):
        raise ValueError(f"{what} is not a string or a list of strings.")
    return tuple(texts)


def _principals(value: Any, where: str) -> tuple[str, ...]:
    what = f"The Principal of {where}"
    if value == "*":
        return ("*",)
    if not isinstance(value, dict) or not value:
        raise ValueError(f'{what} is neither "*" nor an object such as {{"AWS": "arn:aws:iam::ACCOUNT:user/NAME"}}.')
    unknown = set(value) - {"AWS", "Service"}
    if unknown:
        raise ValueError(f"{what} has a member {min(unknown)}; AWS and Service are known here.")
    # A service calls nobody here by itself: it is kept, and fits no caller.
    return (*(_texts(value["AWS"], what) if "AWS" in value else ()), *_services(value, what))


def _services(value: Mapping[str, Any], what: str) -> tuple[str, ...]:
    return tuple(f"service:{one}" for one in _texts(value["Service"], what)) if "Service" in value else ()


def _conditions(value: Any, where: str) -> tuple[Condition, ...]:
    if not isinstance(value, dict):
        raise ValueError(f"The Condition of {where} is not an object.")
    found = []
    for operator, keys in value.items():
        plain = operator.lower().removesuffix("ifexists")
        if plain not in _OPERATORS and plain not in _NEGATED:
            raise ValueError(f"The Condition of {where} has an operator {operator}, which is not known here.")
        if not isinstance(keys, dict):
            raise ValueError(f"{operator} in the Condition of {where} is not an object.")
        for key, wanted in keys.items():
            if key.lower() not in CONDITION_KEYS:
                raise ValueError(f"The Condition of {where} asks for {key}, which is not known here.")
            given = wanted if isinstance(wanted, list) else [wanted]
            texts = [str(one).lower() if isinstance(one, bool) else one for one in given]
            values = _texts(texts, f"{key} in the Condition of {where}")
            if "ipaddress" in plain:
                _check_networks(values, where)
            found.append(Condition(operator.lower(), key.lower(), values))
    return tuple(found)


def _check_networks(values: tuple[str, ...], where: str) -> None:
    for one in values:
        try:
            ipaddress.ip_network(one, strict=False)
        except ValueError:
            raise ValueError(f"{one} in the Condition of {where} is no IP address or network.") from None


def _is(pattern: str, attempt: Attempt) -> bool:
    """Whether the caller is meant: anybody, an account whole (by its number or its root), or one by ARN."""
    if pattern in ("*", attempt.account, f"arn:aws:iam::{attempt.account}:root"):
        return True
    return pattern == attempt.principal


def _in_network(value: str, wanted: str) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False


def _fits(pattern: str, text: str) -> bool:
    # fnmatch is linear in the number of stars; a bracket is a bracket here.
    return pattern == "*" or fnmatchcase(text, pattern.replace("[", "[[]"))


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "stringequals": lambda value, wanted: value == wanted,
    "stringequalsignorecase": lambda value, wanted: value.lower() == wanted.lower(),
    "stringlike": lambda value, wanted: _fits(wanted, value),
    "arnequals": lambda value, wanted: _fits(wanted, value),
    "arnlike": lambda value, wanted: _fits(wanted, value),
    "ipaddress": _in_network,
    "bool": lambda value, wanted: value == wanted.lower(),
}

_NEGATED: dict[str, str] = {
    "stringnotequals": "stringequals",
    "stringnotequalsignorecase": "stringequalsignorecase",
    "stringnotlike": "stringlike",
    "arnnotequals": "arnequals",
    "arnnotlike": "arnlike",
    "notipaddress": "ipaddress",
}
