"""Tags of functions: what a change makes of them. Lengths and characters are the model's to check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from connectors.functions.api.errors import InvalidParameterValue

TAGS_MAX = 50
RESERVED = "aws:"


def tagged(tags: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """`tags` with those that are `given`. Raises `InvalidParameterValue`."""
    for key in given:
        if key.lower().startswith(RESERVED):
            raise InvalidParameterValue(f"Tag keys may not begin with {RESERVED}: {key}")
    together = {**tags, **given}
    if len(together) > TAGS_MAX:
        raise InvalidParameterValue(f"A function has at most {TAGS_MAX} tags, not {len(together)}.")
    return together


def untagged(tags: Mapping[str, str], keys: Iterable[str]) -> dict[str, str]:
    """`tags` without those `keys`, whether they were there or not."""
    gone = set(keys)
    return {key: value for key, value in tags.items() if key not in gone}
