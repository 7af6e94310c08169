"""What new columns are made of: the kinds of values under a key, and how far a column widens for them.

    boolean, int → bigint → double → string

Whole numbers that a bigint cannot hold, arrays, objects, and kinds that do not go together become string: arrays and objects
as JSON text. Nothing is guessed from what is in a text, and a key that was null throughout makes no column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from connectors.formats import duck
from connectors.formats.json_lookup import at, initials, table
from connectors.formats.json_plan import look
from firehose.events import ColumnSpec

COLUMNS_MAX = 1_000
"""Columns that a table grows to: records whose keys are data have no end of them. What comes then is left out."""
NAME_SIZE_MAX = 255
"""Characters of a column's name, in Glue."""

_ORDER = ("int", "bigint", "double", "string")
_INT = 2**31


@dataclass(frozen=True, slots=True)
class Kind:
    """A Hive type that holds all values that were seen."""

    hive: str

    def joined(self, other: Kind) -> Kind:
        """What holds both."""
        if self == other:
            return self
        if "boolean" in (self.hive, other.hive):
            return Kind("string")
        return max(self, other, key=lambda kind: _ORDER.index(kind.hive))

    def within(self, hive: str | None) -> bool:
        """Whether a column of this type holds it already."""
        return hive is not None and self.joined(Kind(hive)).hive == hive


def kinds_of(texts: pa.Array, keys: Sequence[str]) -> dict[str, Kind]:
    """Of the keys of JSON objects: what is there. A key that is null throughout is left out, as is one that no column can
    be called by."""
    usable = [key for key in keys if _is_name(key)]
    if not usable or not len(texts):
        return {}
    sql, places = look([(key,) for key in usable], ["JSON"] * len(usable))
    values = at(duck.run(sql, v=table(texts)), places)
    found = {key: _kind(value.drop_null()) for key, value in zip(usable, values, strict=True)}
    return {key: kind for key, kind in found.items() if kind is not None}


def _is_name(key: str) -> bool:
    return 0 < len(key) <= NAME_SIZE_MAX and key.isprintable() and not set(key) & set('"\\')


def _kind(values: pa.Array) -> Kind | None:
    """Of JSON texts."""
    if not len(values):
        return None
    first = initials(values)
    numbers = (first == ord("-")) | ((first >= ord("0")) & (first <= ord("9")))
    flags = (first == ord("t")) | (first == ord("f"))
    if flags.all():
        return Kind("boolean")
    if not numbers.all():
        return Kind("string")
    whole = pc.match_substring_regex(values, r"^-?\d+$").to_numpy(zero_copy_only=False)
    if not whole.any():
        return Kind("double")
    try:
        bounds = pc.min_max(values.filter(pa.array(whole)).cast(pa.int64()))
    except pa.ArrowInvalid:  # digits that a bigint does not have, and a double would lose
        return Kind("string")
    small = bounds["min"].as_py() >= -_INT and bounds["max"].as_py() < _INT
    kind = Kind("int" if small else "bigint")
    return kind if whole.all() else kind.joined(Kind("double"))


def evolved(columns: Sequence[ColumnSpec], feeds: Mapping[str, str], found: Mapping[str, Kind]) -> list[ColumnSpec]:
    """The columns of a table with what was found under some keys: wider ones, and new ones at the end. `feeds` are the
    columns by the keys that feed them. What a person has declared stays as it is."""
    after = {spec.name: spec for spec in columns}
    for key in sorted(found):
        name, kind = feeds.get(key), found[key]
        if name is None and key not in after and len(after) < COLUMNS_MAX:
            after[key] = ColumnSpec(key, kind.hive, evolved=True)
        elif name is not None and after[name].evolved:
            after[name] = ColumnSpec(name, kind.joined(Kind(after[name].type)).hive, evolved=True)
    return list(after.values())
