"""The last append of each producer in one shard: what makes an append idempotent."""

from __future__ import annotations

from collections.abc import Sequence

from streams.core.records import ProducerMark

Changed = list[tuple[str, tuple[int, int] | None]]
"""Producers with what was known of each before a change."""

PRODUCERS_MAX = 10_000
"""Producers remembered a shard, the longest silent forgotten first: about 1 MB. A retry comes within minutes of its first
try, and ten thousand other producers in one shard do not fit between them."""


class Marks:
    """producer → (sequence, first offset) of its last append."""

    def __init__(self, last: dict[str, tuple[int, int]] | None = None) -> None:
        self._last = dict(last or {})

    def seen(self, mark: ProducerMark) -> int | None:
        """The first offset of the producer's last append if that was this one or a later one, else None."""
        last = self._last.get(mark.producer)
        return last[1] if last is not None and mark.sequence <= last[0] else None

    def note(self, mark: ProducerMark, first: int) -> None:
        self._last.pop(mark.producer, None)
        self._last[mark.producer] = (mark.sequence, first)
        if len(self._last) > PRODUCERS_MAX:
            del self._last[next(iter(self._last))]

    def note_all(self, marks: Sequence[tuple[ProducerMark, int]]) -> Changed:
        """Notes them in order; what `restore` takes to undo it."""
        changed = [(mark.producer, self._last.get(mark.producer)) for mark, _ in marks]
        for mark, first in marks:
            self.note(mark, first)
        return changed

    def restore(self, changed: Changed) -> None:
        for producer, last in reversed(changed):
            self._last.pop(producer, None)
            if last is not None:
                self._last[producer] = last

    def copy(self) -> dict[str, tuple[int, int]]:
        return dict(self._last)
