"""How strictly JSON is read: which kind of value a column takes, and how times are written."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from connectors.formats import joda

JAVA_TIMES = ("yyyy-M-d H:m:s.SSSSSSSSS", "yyyy-M-d H:m:s")
"""What java.sql.Timestamp.valueOf takes."""
JAVA_DATE = "yyyy-M-d"

_NUMBERS = b"-0123456789"
_TEXT = b'"'
_FLAGS = b"tf"


@dataclass(frozen=True, slots=True)
class Dialect:
    """With `patterns` (Joda's, see `joda`; then Java's own form) times are read by those, and every column takes its own
    kind of value only: no number written as text, no object as text. None: as `connectors.formats.json` tells."""

    patterns: tuple[str, ...] | None = None

    @property
    def strict(self) -> bool:
        return self.patterns is not None

    def reads(self, kind: pa.DataType) -> bool:
        """Whether values of this type are read by the patterns."""
        return self.strict and bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))

    def times(self, texts: pa.Array, kind: pa.DataType) -> pa.Array:
        """Times or dates; NULL where a text is none."""
        assert self.patterns is not None
        if not pa.types.is_date(kind):
            return joda.parse(texts, (*self.patterns, *JAVA_TIMES))
        days = pc.floor_temporal(joda.parse(texts, (*self.patterns, JAVA_DATE, *JAVA_TIMES)), unit="day")
        return days.cast(pa.date32())


LENIENT = Dialect()


def initials_of(kind: pa.DataType) -> bytes:
    """What the JSON of a value of this type may begin with, where it is strict."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _NUMBERS
    if pa.types.is_boolean(kind):
        return _FLAGS
    if pa.types.is_string(kind):
        return _TEXT + _NUMBERS + _FLAGS
    if pa.types.is_binary(kind):
        return _TEXT
    return _TEXT + _NUMBERS
