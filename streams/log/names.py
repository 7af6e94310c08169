"""Names of shards in a log: paths of ``[A-Za-z0-9_.-]`` segments, so that a shard can be a folder."""

from __future__ import annotations

import re

_NAME = re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,128}(/(?!\.)[A-Za-z0-9_.-]{1,128}){0,3}")


def check_name(shard: str) -> None:
    """A name that is not one is a bug of the caller."""
    assert _NAME.fullmatch(shard), f"not a shard name: {shard!r}"
