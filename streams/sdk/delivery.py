"""What becomes of records that were given to a producer: one `Outcome` for those that travel together, a cheap `Ticket`
for each of them, and a `Tally` of the failures that nobody has seen yet."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, NamedTuple

from streams.sdk.client import Receipt


class Sent(NamedTuple):
    """Where a record is: the shard's AWS id, and its offset there."""

    shard: str
    offset: int


class Tally:
    """Failures that no ticket has shown to anybody: how many records, and the first error."""

    def __init__(self) -> None:
        self.count = 0
        self.error: Exception | None = None

    def add(self, count: int, error: Exception) -> None:
        self.count += count
        self.error = self.error or error

    def seen(self, count: int) -> None:
        self.count -= count
        if self.count <= 0:
            self.count, self.error = 0, None

    def settle(self) -> None:
        """Raises the first error, if there is a failure that nobody has seen. Settled once; then a new tally begins."""
        if self.error is not None:
            self.error.add_note(f"{self.count} records given to the producer were not delivered")
            raise self.error


class Outcome:
    """The fate of the records of one put. Settled once: with the receipt, or with an error."""

    __slots__ = ("_done", "_receipt", "_tally", "_waiter", "error")

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._receipt: Receipt | None = None
        self._tally: Tally | None = None
        self._done = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def done(self) -> bool:
        return self._done

    def succeed(self, receipt: Receipt) -> None:
        self._receipt = receipt
        self._settle()

    def fail(self, error: Exception, count: int, tally: Tally) -> None:
        """All `count` records failed; `tally` hears of those whose error nobody sees."""
        self.error = error
        self._tally = tally
        tally.add(count, error)
        self._settle()

    async def settled(self) -> None:
        """Returns when it is done, well or not. Cancelling one waiter leaves the others waiting."""
        if not self._done:
            if self._waiter is None:
                self._waiter = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._waiter)

    def receipt(self, seen: int) -> Receipt:
        """The receipt, or raises the error, which `seen` more records have then shown."""
        if self.error is not None:
            assert self._tally is not None
            self._tally.seen(seen)
            raise self.error
        assert self._receipt is not None, "settled outcomes have a receipt or an error"
        return self._receipt

    def _settle(self) -> None:
        self._done = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Ticket:
    """``sent = await ticket``: where the record is, once it is durable; raises what kept it from getting there.

    Nothing is made per record when a put succeeds: a ticket looks into the receipt that it shares with its neighbours.
    """

    __slots__ = ("_index", "_outcome", "_seen")

    def __init__(self, outcome: Outcome, index: int) -> None:
        self._outcome = outcome
        self._index = index
        self._seen = False

    def done(self) -> bool:
        """Whether awaiting it returns or raises at once."""
        return self._outcome.done

    def __await__(self) -> Generator[Any, None, Sent]:
        return self._sent().__await__()

    async def _sent(self) -> Sent:
        await self._outcome.settled()
        fresh, self._seen = not self._seen, True
        receipt = self._outcome.receipt(seen=int(fresh))
        return Sent(receipt.shards[receipt.shard[self._index].as_py()], receipt.offset[self._index].as_py())
