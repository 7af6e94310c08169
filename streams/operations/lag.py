"""A warning before records age out unread: when a reader has come near the end of the retention."""

from __future__ import annotations

import logging

from streams.control.stream import HOUR_MS, Stream
from streams.core.clock import Clock

_logger = logging.getLogger(__name__)

NEAR = 0.8
"""Of the retention: a reader further behind than this is about to lose records."""

AGAIN_MS = HOUR_MS
"""A shard is warned of once in this time."""

WARNED_MAX = 10_000
"""Shards that are remembered as warned of; beyond it all are forgotten, and warned of again."""


class Lag:
    """Told how far each reader is behind."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._warned_ms: dict[tuple[str, str], int] = {}

    def seen(self, stream: Stream, shard: str, behind_ms: int) -> None:
        """A reader of the shard is so far behind its tip."""
        retention_ms = stream.retention_hours * HOUR_MS
        if behind_ms <= NEAR * retention_ms:
            return
        now_ms, key = self._clock.now_ms(), (stream.id, shard)
        if now_ms - self._warned_ms.get(key, -AGAIN_MS) < AGAIN_MS:
            return
        if len(self._warned_ms) >= WARNED_MAX:
            self._warned_ms.clear()
        self._warned_ms[key] = now_ms
        _logger.warning(
            "a reader of stream %s, shard %s, is %.1f h behind, and records are kept for %d h: the oldest are about to be"
            " lost unread. Read faster, or IncreaseStreamRetentionPeriod.",
            stream.name,
            shard,
            behind_ms / HOUR_MS,
            stream.retention_hours,
        )
