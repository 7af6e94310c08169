"""Prefix and ErrorOutputPrefix: text with expressions ``!{namespace:value}``.

!{timestamp:yyyy/MM/dd}              the arrival of the object's oldest record, in the destination's time zone
!{partitionKeyFromLambda:month}      a key that the function gave the record
!{partitionKeyFromQuery:customer}    a key that the jq query took from the record
!{firehose:random-string}            11 characters, fresh for each object and occurrence
!{firehose:error-output-type}        processing-failed, format-conversion-failed … (ErrorOutputPrefix only)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from firehose.javatime import PatternError, check, format_time

DEFAULT_TIME = "yyyy/MM/dd/HH/"
FROM_FUNCTION = "partitionKeyFromLambda"
FROM_QUERY = "partitionKeyFromQuery"

_EXPRESSION = re.compile(r"!\{([^{}:]*):([^{}]*)\}")
_NAMESPACES = ("timestamp", "firehose", FROM_FUNCTION, FROM_QUERY)


class PrefixError(ValueError):
    """A prefix that cannot be used, and why."""


@dataclass(frozen=True, slots=True)
class Expression:
    namespace: str
    value: str


@dataclass(frozen=True, slots=True)
class Prefix:
    """A parsed prefix: literal text and expressions, in order."""

    parts: tuple[str | Expression, ...]

    @staticmethod
    def parse(text: str) -> Prefix:
        """Raises `PrefixError`."""
        parts: list[str | Expression] = []
        at = 0
        for match in _EXPRESSION.finditer(text):
            parts.append(text[at : match.start()])
            parts.append(_expression(match.group(1), match.group(2)))
            at = match.end()
        parts.append(text[at:])
        literal = [part for part in parts if isinstance(part, str)]
        if any("!{" in part for part in literal):
            raise PrefixError("'!{' may only begin an expression of the form !{namespace:value}")
        return Prefix(tuple(part for part in parts if part != ""))

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return tuple(part for part in self.parts if isinstance(part, Expression))

    @property
    def keys(self) -> tuple[Expression, ...]:
        """The partition keys that it names, each once, in order."""
        return tuple(dict.fromkeys(e for e in self.expressions if e.namespace in (FROM_FUNCTION, FROM_QUERY)))

    def names(self, namespace: str, value: str | None = None) -> bool:
        return any(e.namespace == namespace and value in (None, e.value) for e in self.expressions)

    def with_default_time(self) -> Prefix:
        """The default ``yyyy/MM/dd/HH/`` appended, as AWS does where no expression but a random string is used."""
        if all(expression.value == "random-string" for expression in self.expressions):
            return Prefix((*self.parts, Expression("timestamp", DEFAULT_TIME)))
        return self

    def evaluate(
        self, moment: datetime, random_string: Callable[[], str], keys: Mapping[Expression, str], error_type: str = ""
    ) -> str:
        """The text for one object. `keys` has every key that the prefix names."""

        def value(part: str | Expression) -> str:
            match part:
                case str():
                    return part
                case Expression("timestamp", pattern):
                    return format_time(pattern, moment)
                case Expression("firehose", "random-string"):
                    return random_string()
                case Expression("firehose"):
                    return error_type
            return keys[part]

        return "".join(value(part) for part in self.parts)


def _expression(namespace: str, value: str) -> Expression:
    if namespace not in _NAMESPACES:
        raise PrefixError(f"Invalid prefix expression namespace '{namespace}'; use {', '.join(_NAMESPACES)}")
    if namespace == "firehose" and value not in ("random-string", "error-output-type"):
        raise PrefixError(f"Invalid prefix expression !{{firehose:{value}}}")
    if namespace == "timestamp":
        try:
            check(value)
        except PatternError as error:
            raise PrefixError(f"Invalid timestamp pattern '{value}': {error}") from error
    if not value:
        raise PrefixError(f"Prefix expression !{{{namespace}:}} names nothing")
    return Expression(namespace, value)
