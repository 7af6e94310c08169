"""Delivery to an HTTP endpoint: tries within a budget of time, by the stream's clock."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable

from connectors.http_endpoint import EndpointError
from firehose.meters import Meter
from firehose.requests import Staged
from streams.core.clock import Clock

log = logging.getLogger(__name__)

PAUSE_S_FIRST = 1.0
PAUSE_S_MAX = 120.0
JITTER = 0.15
"""Pauses between tries, AWS's: from 1 s on doubling to 120 s, 15 % more or less, so that streams which failed together
do not come back together."""

Post = Callable[[str, bytes], Awaitable[None]]
"""A request id and a body → the endpoint has taken it; raises `EndpointError`."""


class Poster:
    """`budget_s` is how long a request that failed is tried again; 0: not at all."""

    def __init__(
        self, post: Post, budget_s: float, clock: Clock, randomness: random.Random, title: str, meter: Meter
    ) -> None:
        self._post = post
        self._budget_s = budget_s
        self._clock = clock
        self._random = randomness
        self._title = title
        self._meter = meter

    async def send(self, request: Staged) -> tuple[EndpointError, int] | None:
        """None when it was taken; the last error and the number of attempts when the budget is used up."""
        body = request.body()
        attempts, pause_s = 0, PAUSE_S_FIRST
        ends_ms: float | None = None
        while True:
            attempts += 1
            try:
                await self._post(request.request, body)
            except EndpointError as error:
                self._meter.refusals += 1
                if ends_ms is None:
                    ends_ms = self._clock.now_ms() + self._budget_s * 1000
                left_s = (ends_ms - self._clock.now_ms()) / 1000
                log.warning(
                    "%s: request %s was not taken (attempt %d, %.0f s left): %s",
                    *(self._title, request.request, attempts, max(0.0, left_s), error),
                )
                if error.permanent or left_s <= 0:
                    return error, attempts
                jitter = 1 + self._random.uniform(-JITTER, JITTER)
                await self._clock.sleep(min(pause_s * jitter, left_s))
                pause_s = min(pause_s * 2, PAUSE_S_MAX)
            else:
                return None
