"""What is asked of the writer: to append, or anything else that files need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streams.core.errors import HeadraceError
from streams.core.records import ProducerMark, Records
from streams.log.columns import Columns
from streams.log.log import Appended, Appends
from streams.log.tail import Tail


class Answers:
    """Of `count` appends that are asked for together: `future` is done when the last of them is."""

    __slots__ = ("_left", "_outcomes", "future")

    def __init__(self, count: int) -> None:
        self.future: asyncio.Future[Appends] = asyncio.get_running_loop().create_future()
        self._outcomes: list[Any] = [None] * count
        self._left = count

    def settle(self, place: int, outcome: Appended | HeadraceError) -> None:
        """What became of the append at `place`; on the event loop."""
        self._outcomes[place] = outcome
        self._left -= 1
        if not self._left and not self.future.done():
            self.future.set_result(self._outcomes)


@dataclass(slots=True, eq=False)
class Append:
    """One append on its way: `content` of `size` bytes of keys and data, whose answer is the one at `place`."""

    tail: Tail
    shard: str
    content: Records | Columns
    size: int
    answers: Answers
    place: int
    mark: ProducerMark | None = None

    def settle(self, outcome: Appended | HeadraceError) -> None:
        """On the event loop."""
        self.answers.settle(self.place, outcome)


@dataclass(slots=True, eq=False)
class Call:
    """Something to be done between commits, by the thread that owns the files. `future` gets its answer."""

    work: Callable[[], Any]
    future: asyncio.Future[Any]
