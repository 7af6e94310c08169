"""When rows leave an application whose state is kept elsewhere."""

from __future__ import annotations

from typing import Any, cast

from analytics.delivery import Delivery
from analytics.keeping import KEEP_MS, KEEP_PAUSE_MS_MAX, Keeping
from analytics.state import State
from streams.core.clock import ManualClock


class Room:
    """A state that settles, and a delivery that counts what it is given."""

    def __init__(self) -> None:
        self.delivered = 0

    def settle(self) -> None:
        pass

    async def deliver(self, entries: list[Any]) -> None:
        self.delivered += len(entries)


async def test_rows_wait_for_the_state_to_be_kept_and_no_longer_whatever_the_clock_does() -> None:
    clock, room, leap_s = ManualClock(), Room(), 0.0

    async def keep() -> None:
        clock.advance(leap_s)

    keeping = Keeping(cast("Delivery", room), clock, keep)

    async def hand_out(count: int) -> int:
        keeping.changed()
        await keeping.hand_out(cast("State", room), cast("list[Any]", [None] * count))
        return room.delivered

    assert await hand_out(1) == 1
    assert await hand_out(1) == 1, "the state was kept just now"
    clock.advance(KEEP_MS / 1000)
    assert await hand_out(1) == 3
    clock.advance(-86_400)
    assert await hand_out(1) == 4, "a clock that went back is no reason to wait for it"
    clock.advance(KEEP_MS / 1000)
    leap_s = 86_400
    assert await hand_out(1) == 5
    leap_s = 0
    assert await hand_out(1) == 5, "keeping seemed to take a day"
    clock.advance(KEEP_PAUSE_MS_MAX / 1000)
    assert await hand_out(1) == 7
