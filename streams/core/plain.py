"""Decoded requests → plain data, as it is kept and shown again."""

from __future__ import annotations

from typing import Any

import msgspec


def plain(request: Any) -> Any:
    """A decoded request, or a part of it, as plain data under AWS's names, without the members that are absent."""
    return _pruned(msgspec.to_builtins(request, builtin_types=(bytes,)))


def _pruned(value: Any) -> Any:
    match value:
        case dict():
            return {key: _pruned(inner) for key, inner in value.items() if inner is not None}
        case list():
            return [_pruned(inner) for inner in value]
    return value
