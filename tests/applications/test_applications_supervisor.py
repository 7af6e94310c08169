"""Who keeps an application at work: pauses that grow, an end of them when there is something new, and what is told."""

from __future__ import annotations

import asyncio

from analytics.worker.messages import Run
from analytics.worker.supervisor import PAUSE_S_FIRST, Supervisor
from streams.core.clock import ManualClock
from streams.core.errors import InvalidArgument


async def test_pauses_grow_and_end_when_there_is_something_new() -> None:
    clock, asked = ManualClock(), 0

    def specify() -> Run:
        nonlocal asked
        asked += 1
        raise InvalidArgument("Delivery stream d was not found.")

    async def paused() -> None:
        while clock.sleeping == 0:  # noqa: ASYNC110 - a process ends meanwhile, and nothing tells that its time is waited for
            await asyncio.sleep(0.001)

    supervisor = Supervisor("app", specify, clock)
    assert supervisor.health.phase == "starting"
    supervisor.start()
    await paused()
    assert (supervisor.health.phase, supervisor.health.restarts, asked) == ("waiting", 1, 1)
    assert supervisor.health.error == "Delivery stream d was not found."
    clock.advance(PAUSE_S_FIRST)
    await paused()
    clock.advance(PAUSE_S_FIRST)
    assert (clock.sleeping, asked) == (1, 2)  # the second pause is twice as long
    supervisor.renew()
    while asked == 2:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.001)
    await supervisor.stop()
    assert asked == 3
