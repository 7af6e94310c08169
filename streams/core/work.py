"""Work that one process at a time does, where several share a log: which part of it an item is, and who has that part.

    item ── hash ──▶ part ── membership ──▶ a process

Delivery streams, SQL applications, queues and the consumer groups of a stream are items. Parts are few and go over from one
process to another as a whole; how many there are is the same for all processes of a log, and for good.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from streams.core.scope import Scope

PARTS = 64
"""Of the work of one log: as many processes can share it, evenly while they are far fewer."""

GLUE = "glue"
FUNCTIONS = "functions"
"""The data catalog and the functions that were created: each is one item."""


def part_of(item: str) -> int:
    return zlib.crc32(item.encode()) % PARTS


def delivery_item(scope: Scope, name: str) -> str:
    return f"delivery {scope.account} {scope.region} {name}"


def application_item(scope: Scope, name: str) -> str:
    return f"application {scope.account} {scope.region} {name}"


def queue_item(queue_id: str) -> str:
    return f"queue {queue_id}"


def groups_item(stream_id: str) -> str:
    """All consumer groups of a stream."""
    return f"groups {stream_id}"


Moved = Callable[[frozenset[int], frozenset[int]], Coroutine[Any, Any, None]]
"""Told which parts this process has lost and which it has won. Parts that are lost go on to their next process when it
returns; it does not raise."""


class Work(Protocol):
    """How the parts are shared. An owner is the URL at which its process answers."""

    def mine(self, part: int) -> bool: ...

    def owner(self, part: int) -> str | None:
        """None while nobody has it, or nobody knows who."""
        ...

    async def change(self) -> None:
        """Returns when the parts are shared in another way than now."""
        ...

    def begin_again(self, part: int) -> None:
        """What this process has of the part was ended by another that took itself for its owner."""
        ...

    def trouble(self) -> str | None:
        """Why this process does no work, where it is to do some."""
        ...


class Alone:
    """One process, which does everything."""

    def mine(self, part: int) -> bool:
        return True

    def owner(self, part: int) -> str | None:
        return None

    async def change(self) -> None:
        raise AssertionError("nobody waits for a change of what never changes")

    def begin_again(self, part: int) -> None:
        pass

    def trouble(self) -> str | None:
        return None


ALONE = Alone()
