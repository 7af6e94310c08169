"""How callers name a function: by name, partial or whole ARN, each with a qualifier or without."""

from __future__ import annotations

import re
from dataclasses import dataclass

from connectors.functions.api.errors import FunctionNotFound, InvalidParameterValue
from connectors.functions.function import function_arn
from streams.core.scope import Scope

_NAME = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9-]+):)?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[a-zA-Z0-9_-]+)(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9_-]+))?"
)


@dataclass(frozen=True, slots=True)
class Named:
    """A function's name and, if there was one, the qualifier."""

    name: str
    qualifier: str | None

    def arn(self, scope: Scope) -> str:
        arn = function_arn(scope, self.name)
        return arn if self.qualifier is None else f"{arn}:{self.qualifier}"


def named(text: str, scope: Scope, qualifier: str | None = None) -> Named:
    """Raises `FunctionNotFound` for another region's, `InvalidParameterValue` for two qualifiers that differ."""
    match = _NAME.fullmatch(text)
    if match is None:
        raise FunctionNotFound(f"Function not found: {text}")
    region, own = match["region"], match["qualifier"]
    if region is not None and region != scope.region:
        raise FunctionNotFound(f"Functions from '{region}' are not reachable in this region ('{scope.region}')")
    if match["account"] not in (None, scope.account):
        raise FunctionNotFound(f"Function not found: {text}")
    if own is not None and qualifier is not None and own != qualifier:
        raise InvalidParameterValue(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    return Named(match["name"], qualifier or own)
