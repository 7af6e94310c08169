"""The time of an input: a machine that says, for each row, whether it comes too late, and how far time has come.

The *frontier* is a promise: no row that is accepted from now on has a ROWTIME before it. It never goes back. Windows
that end at or before it are closed.

ROWTIME from arrival      A shard that is read to its end has come as far as the clock (less `MARGIN_MS`); one that is
                          not, as far as its last row. The frontier is the least of all shards. A row below it (a clock
                          was set back) gets the frontier as its ROWTIME: nothing is ever late. One that arrived more than
                          `APART_MS` ahead of the clock gets the clock's time.
                          Behind a frontier that the clock has left so far ahead, time goes on at half the clock's pace
                          until both agree: windows close, in their order, where standing still for a day would close none.
ROWTIME from a column     A shard has come as far as its greatest time less the lateness allowed. A row below that is
                          late; whether it is depends on the rows before it in its shard only, not on how they were
                          batched. Shards that never had a row hold nothing back once they are read to their end. Only
                          data move this frontier, unless `idle_ms` is set: then a shard without a row for so long holds
                          nothing back, and when all are idle, time moves on with the clock.
                          A time more than `future_ms` ahead of the clock is refused: it would close every window.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

MARGIN_MS = 1_000
"""Between the arrival that the log writes on a record and the moment a reader sees it: group commit and scheduling."""

APART_MS = 60_000
"""How far clocks that are right may lie apart: of machines that share a log, of one that was set back by its time server.
Within it time waits for the clock; a clock that is further off has jumped."""

FUTURE_MS = 24 * 3_600_000
"""How far ahead of the clock an event may be by default: time zones that were mixed up stay within a day."""


_LEAST = int(np.iinfo(np.int64).min) // 2
"""Before all times, also less a lateness."""
_BLOCK = 4_096


@dataclass(frozen=True, slots=True)
class TimeRule:
    """`column` is the event-time column, None for arrival. Milliseconds all."""

    column: str | None = None
    lateness_ms: int = 0
    idle_ms: int | None = None
    future_ms: int = FUTURE_MS


@dataclass(slots=True)
class ShardTime:
    """`high_ms` is the greatest ROWTIME accepted; `seen_ms` the clock when the last row came."""

    high_ms: int | None = None
    seen_ms: int = 0


@dataclass(slots=True)
class InputTime:
    """`at_ms` is the frontier; None before there is one. `looked_ms` is the clock at the last look that counts."""

    rule: TimeRule
    at_ms: int | None = None
    shards: dict[str, ShardTime] = field(default_factory=dict)
    looked_ms: int | None = None

    def admit(self, shard: str, times: np.ndarray, now_ms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`times` are int64 milliseconds of rows of one shard in order. Gives their ROWTIMEs, and which rows are late
        and which too far in the future (bool each); those are not accepted."""
        state = self.shards.setdefault(shard, ShardTime())
        nothing = np.zeros(len(times), bool)
        if not len(times):
            return times, nothing, nothing
        state.seen_ms = now_ms
        if self.rule.column is None:
            if int(times.max()) > now_ms + APART_MS:
                times = np.where(times > now_ms + APART_MS, now_ms, times)
            if self.at_ms is not None:
                times = np.maximum(times, self.at_ms)
            state.high_ms = int(times.max()) if state.high_ms is None else max(state.high_ms, int(times.max()))
            return times, nothing, nothing
        limit = now_ms + self.rule.future_ms
        future = nothing if int(times.max()) <= limit else times > limit
        present = times if future is nothing else np.where(future, _LEAST, times)
        late = self._late(present, _LEAST if state.high_ms is None else state.high_ms)
        if future is not nothing:
            late &= ~future
        high = int(present.max())
        if high > _LEAST:
            state.high_ms = high if state.high_ms is None else max(state.high_ms, high)
        return times, late, future

    def _late(self, times: np.ndarray, high: int) -> np.ndarray:
        """Which rows come too late behind the rows before them, of which the latest was at `high`. Running maxima cost ten
        times as much as those of blocks, which mostly show that no row of theirs can be late."""
        late = np.zeros(len(times), bool)
        begins = np.arange(0, len(times), _BLOCK)
        least, most = np.minimum.reduceat(times, begins), np.maximum.reduceat(times, begins)
        highs = np.maximum.accumulate(np.concatenate(([high], most)))
        bound = _LEAST if self.at_ms is None else self.at_ms
        for block in np.flatnonzero(least < np.maximum(highs[1:] - self.rule.lateness_ms, bound)).tolist():
            part = slice(block * _BLOCK, (block + 1) * _BLOCK)
            before = np.maximum.accumulate(np.concatenate((highs[block : block + 1], times[part])))[:-1]
            late[part] = times[part] < np.maximum(before - self.rule.lateness_ms, bound)
        return late

    def advance(self, now_ms: int, behind: set[str], reading: set[str]) -> int | None:
        """The frontier, moved as far as it may. `now_ms` is the clock before the question whose answer says that the
        shards `reading` are read to their end, except those in `behind`."""
        reached = (
            self._arrival(now_ms, behind, reading) if self.rule.column is None else self._event(now_ms, behind, reading)
        )
        if reached is not None and (self.at_ms is None or reached > self.at_ms):
            self.at_ms = reached
        return self.at_ms

    def finish(self, at_ms: int) -> None:
        """The input has ended: every window up to `at_ms` has been closed."""
        self.at_ms = at_ms if self.at_ms is None else max(self.at_ms, at_ms)

    def _arrival(self, now_ms: int, behind: set[str], reading: set[str]) -> int | None:
        come_ms = self._come(now_ms)
        reached = []
        for shard in reading:
            high = self.shards.get(shard, ShardTime()).high_ms
            if shard not in behind:
                reached.append(come_ms)
            elif high is None:
                return None
            else:
                reached.append(min(high, come_ms))
        return min(reached, default=None)

    def _come(self, now_ms: int) -> int:
        """How far the clock lets time come."""
        passed_ms = 0 if self.looked_ms is None else now_ms - self.looked_ms
        if self.at_ms is None or self.at_ms <= now_ms + APART_MS or not 0 < passed_ms <= APART_MS:
            self.looked_ms = now_ms
            return now_ms - MARGIN_MS
        assert self.looked_ms is not None, "time has passed since a look"
        self.looked_ms += passed_ms // 2 * 2
        return self.at_ms + passed_ms // 2

    def _event(self, now_ms: int, behind: set[str], reading: set[str]) -> int | None:
        reached, idle = [], []
        for shard in reading:
            state = self.shards.get(shard, ShardTime())
            if state.high_ms is None:
                if shard in behind:
                    return None
                continue
            quiet_ms = now_ms - state.seen_ms
            if self.rule.idle_ms is not None and shard not in behind and quiet_ms >= self.rule.idle_ms:
                idle.append(state.high_ms - self.rule.lateness_ms + quiet_ms)
            else:
                reached.append(state.high_ms - self.rule.lateness_ms)
        return min(reached, default=max(idle, default=None))
