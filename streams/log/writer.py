"""Group commit: one thread that takes all appends that wait, writes each shard's as one, syncs, and answers them at once.

While one commit is on its way to the disk the next gathers, so the cost of a sync is shared by whoever waits for it. The
event loop is woken once a commit, whatever its size.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import queue
import resource
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from streams.core.clock import Clock
from streams.core.errors import HeadraceError, LogError, LogFull
from streams.log.commits import COMMIT_SIZE_MAX as COMMIT_LOGGED_MAX
from streams.log.commits import CommitLog
from streams.log.log import Appended
from streams.log.requests import Append, Call
from streams.log.tail import Tail, Written

log = logging.getLogger(__name__)

Sync = Literal["always", "interval", "os"]

COMMIT_SIZE_MAX = 64 << 20
"""Bytes that one commit takes at most: past this the disk's bandwidth rules and not its latency."""

SYNCS_MAX = 4
"""Files synced side by side: a commit over many shards waits for a few syncs, not for all of them in turn."""

SYNC_WORTH = 32 << 10
"""Bytes that are written again in the time of a sync of one more file."""

COMMIT_LOGGED_MANY_MAX = 2 << 20
"""Bytes of a commit over many shards that goes through the commit log: several fit into one round."""

OPEN_FILES_SHARE, OPEN_FILES_MAX = 4, 4096
"""Tails whose file stays open between appends, the least recently written closed first: a fourth of what the process may
open, at most so many."""


@dataclass(slots=True, eq=False)
class Outcome:
    """What became of the appends to one shard in one commit."""

    shard: str
    appends: list[Append]
    written: Written | None
    error: HeadraceError | None


Item = Append | Call | None
"""None ends the thread."""


class Writer:
    """Owns the tails from `start` to `stop`. `committed` is called on the event loop with the outcomes of each commit."""

    def __init__(
        self,
        clock: Clock,
        sync: Sync,
        sync_interval_ms: int,
        commits: CommitLog,
        committed: Callable[[list[Outcome]], None],
    ) -> None:
        self._clock = clock
        self._sync = sync
        self._interval_s = sync_interval_ms / 1000
        self._commits = commits
        self._committed = committed
        self._queue: queue.SimpleQueue[list[Item]] = queue.SimpleQueue()
        self._gathered: list[Item] = []
        self._loop = asyncio.get_running_loop()
        self._syncs = ThreadPoolExecutor(SYNCS_MAX, "log-sync")
        self._open_max = min(OPEN_FILES_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // OPEN_FILES_SHARE)
        self._open: OrderedDict[Tail, None] = OrderedDict()
        self._dirty: dict[Tail, None] = {}
        self._hand: list[Append] = []
        self._rest: deque[Item] = deque()
        self._synced_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, appends: Sequence[Append]) -> None:
        """Handed over once the event loop has gone through what has come in: so the thread takes all of it at once, and
        does not ask for the interpreter while the loop still needs it."""
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered += appends

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._queue.put(gathered)

    def call(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """The answer of `work`, done in the writer's thread after all that was submitted before."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._hand_over()
        self._queue.put([Call(work, future)])
        return future

    def forget(self, tail: Tail) -> None:
        """The tail will be no more; only in the writer's thread. Raises `OSError`: then it still is."""
        # A shard that is created anew under the old name must not get the old one's frames after a crash.
        if not self._commits.empty:
            if not self._sync_dirty():
                raise OSError(errno.EIO, "what waits to be synced cannot be")
            self._commits.clear()
        tail.release()
        self._open.pop(tail, None)
        self._dirty.pop(tail, None)

    def seal_open(self) -> None:
        """Syncs and vouches for all open tails and closes their files; only in the writer's thread, before `stop`."""
        self._sync_dirty()
        for tail in self._open:
            error = _try(tail.cut)
            if error is not None:
                log.error("%s: appends that failed may come back with the next opening: %s", tail.folder, error)
            self._vouch(tail, always=True)
            tail.release()
        self._open.clear()
        self._commits.close()

    async def stop(self) -> None:
        """Everything submitted before is done when it returns."""
        self._hand_over()
        self._queue.put([None])
        await asyncio.to_thread(self._thread.join)
        self._syncs.shutdown()

    def _run(self) -> None:
        try:
            while self._work():
                self._sync_when_due()
        except Exception as error:
            log.critical("the log's writer has stopped: nothing more is stored", exc_info=error)
            self._refuse(LogError(f"the log's writer has stopped: {error!r}"))

    def _work(self) -> bool:
        """Does what waits; whether there will be more."""
        running = True
        self._rest.extend(self._take())
        while self._rest:
            item = self._rest[0]
            if isinstance(item, Append):
                self._hand.append(item)
                self._rest.popleft()
                continue
            self._commit()
            self._rest.popleft()
            if item is None:
                running = False
            else:
                self._do(item)
        self._commit()
        return running

    def _refuse(self, error: LogError) -> None:
        """Answers what is in hand and all that will come: nobody waits for a writer that is no more."""
        items: list[Item] = [*self._hand, *self._rest]
        while True:
            for item in items:
                if item is None:
                    return
                if isinstance(item, Append):
                    outcome = Outcome(item.shard, [item], None, error)
                    self._loop.call_soon_threadsafe(self._committed, [outcome])
                else:
                    self._loop.call_soon_threadsafe(_settle, item.future, None, error)
            items = self._queue.get()

    def _take(self) -> list[Item]:
        """All that waits, up to `COMMIT_SIZE_MAX`; waits for the first, no longer than until the next sync is due."""
        timeout = None
        if self._dirty and self._sync == "interval":
            timeout = max(0.0, self._synced_at + self._interval_s - time.monotonic())
        try:
            items = self._queue.get(timeout=timeout)
        except queue.Empty:
            return []
        size = _size(items)
        while size < COMMIT_SIZE_MAX:
            try:
                more = self._queue.get_nowait()
            except queue.Empty:
                break
            size += _size(more)
            items += more
        return items

    def _do(self, call: Call) -> None:
        answer: Any = None
        error: Exception | None = None
        try:
            answer = call.work()
        except OSError as refused:
            error = LogFull(f"the disk refuses a change of shards: {refused.strerror or refused}")
        except Exception as raised:
            error = raised
        self._loop.call_soon_threadsafe(_settle, call.future, answer, error)

    def _commit(self) -> None:
        """Stores the appends in hand."""
        appends = self._hand
        if not appends:
            return
        by_tail: dict[Tail, list[Append]] = {}
        for append in appends:
            by_tail.setdefault(append.tail, []).append(append)
        now_ms = self._clock.now_ms()
        outcomes = [self._write(tail, group, now_ms) for tail, group in by_tail.items()]
        if self._sync == "always":
            self._make_durable(outcomes)
        for outcome in outcomes:
            if outcome.written is not None:
                outcome.appends[0].tail.commit(outcome.written)
        self._loop.call_soon_threadsafe(self._committed, outcomes)
        self._hand = []
        # The sidecars and the closing of files come after the answers: nobody waits for them.
        for tail in by_tail:
            self._tidy(tail)

    def _write(self, tail: Tail, appends: list[Append], now_ms: int) -> Outcome:
        shard = appends[0].shard
        try:
            written = tail.write(appends, now_ms)
        except Exception as error:
            return Outcome(shard, appends, None, _explain(shard, error))
        if tail.dirty:
            self._dirty[tail] = None
        return Outcome(shard, appends, written, None)

    def _make_durable(self, outcomes: list[Outcome]) -> None:
        """One sync of the commit log for a small commit, else one of each segment. What fails is undone."""
        frames = [
            (outcome.shard, frame)
            for outcome in outcomes
            if outcome.written is not None
            for frame in outcome.written.encoded
        ]
        size = sum(len(piece) for _, frame in frames for piece in frame)
        if not frames:
            return
        if not self._worth_logging(size, len(outcomes)):
            self._sync_each(outcomes)
            return
        if not self._commits.fits(frames):
            self._next_round()
            self._sync_each(outcomes)  # they have been synced with all others, but for those that failed
            return
        error = _try(lambda: self._commits.add(frames))
        if error is not None:
            for outcome in outcomes:
                if outcome.written is not None and outcome.written.frames:
                    self._undo(outcome, error)

    @staticmethod
    def _worth_logging(size: int, shards: int) -> bool:
        """Whether to write a commit twice and sync once, and not to sync the segments of all its shards."""
        return size <= COMMIT_LOGGED_MAX or size <= min(shards * SYNC_WORTH, COMMIT_LOGGED_MANY_MAX)

    def _next_round(self) -> None:
        """Syncs all segments, so that the commit log may begin anew. If one fails, it may not: it holds what that lacks."""
        if self._sync_dirty():
            self._commits.restart()

    def _sync_each(self, outcomes: list[Outcome]) -> None:
        """Syncs what the outcomes wrote, side by side; those whose sync fails are undone."""
        wrote = [outcome for outcome in outcomes if outcome.written is not None and outcome.written.frames]
        tails = [outcome.appends[0].tail for outcome in wrote]
        for outcome, tail, error in zip(wrote, tails, self._synced(tails), strict=True):
            if error is None:
                self._dirty.pop(tail, None)
                continue
            self._undo(outcome, error)

    def _synced(self, tails: Sequence[Tail]) -> list[Exception | None]:
        """Syncs them, side by side; what went wrong with each."""
        if len(tails) == 1:
            return [_try(tails[0].sync)]
        return list(self._syncs.map(lambda tail: _try(tail.sync), tails))

    def _undo(self, outcome: Outcome, error: Exception) -> None:
        undone = _try(outcome.appends[0].tail.undo)
        if undone is not None:
            log.error("%s: what failed to sync could not be cut off: %s", outcome.shard, undone)
        outcome.written, outcome.error = None, _explain(outcome.shard, error)

    def _sync_when_due(self) -> None:
        if self._sync == "interval" and self._dirty and time.monotonic() - self._synced_at >= self._interval_s:
            self._sync_dirty()

    def _sync_dirty(self) -> bool:
        """Syncs all segments that need it; whether all could be."""
        tails = list(self._dirty)
        for tail, error in zip(tails, self._synced(tails), strict=True):
            if error is None:
                del self._dirty[tail]
                self._vouch(tail)
            else:
                log.error("%s: a sync failed and will be tried again: %s", tail.folder, error)
            if tail not in self._open:
                tail.release()
        self._synced_at = time.monotonic()
        return not self._dirty

    def _tidy(self, tail: Tail) -> None:
        self._vouch(tail)
        if tail.fd is not None:
            self._open[tail] = None
            self._open.move_to_end(tail)
            if len(self._open) > self._open_max:
                self._open.popitem(last=False)[0].release()

    def _vouch(self, tail: Tail, *, always: bool = False) -> None:
        error = _try(lambda: tail.vouch(always=always))
        if error is not None:
            log.warning("%s: the sidecar could not be written, a restart will scan more: %s", tail.folder, error)


def _size(items: Sequence[Item]) -> int:
    return sum(item.size for item in items if isinstance(item, Append))


def _try(work: Callable[[], None]) -> Exception | None:
    try:
        work()
    except Exception as error:
        return error
    return None


def _explain(shard: str, error: Exception) -> HeadraceError:
    if isinstance(error, OSError):
        return LogFull(f"the disk refuses to store records of {shard}: {error.strerror or error}")
    log.error("%s: an append failed", shard, exc_info=error)
    return LogError(f"an append to {shard} failed: {error}")


def _settle(future: asyncio.Future[Any], answer: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(answer)
    else:
        future.set_exception(error)


def settle_appends(outcomes: Sequence[Outcome]) -> None:
    """Answers the appends; on the event loop."""
    for outcome in outcomes:
        written = outcome.written
        if written is None:
            assert outcome.error is not None
            for append in outcome.appends:
                append.settle(outcome.error)
        else:
            for append, first in zip(outcome.appends, written.offsets, strict=True):
                append.settle(Appended(first, written.arrival_ms))
