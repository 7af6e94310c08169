"""What codecs do with the texts of JSON values: ask DuckDB, and put what comes back in its place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from connectors.formats import duck
from connectors.formats.json_plan import ELEMENTS, Place, converting


def table(texts: pa.Array) -> pa.Table:
    return pa.table({"t": texts})


def at(structs: pa.Table, places: Sequence[Place]) -> list[pa.Array]:
    """The values at some places; those below `ELEMENTS` are of all arrays, one after the other."""
    opened: dict[Place, dict[str, pa.Array]] = {}

    def open_(place: Place) -> dict[str, pa.Array]:
        if place not in opened:
            number, path = place
            above = open_((number, path[:-1]))[path[-1]] if path else structs.column(number).combine_chunks()
            if pa.types.is_list(above.type):
                opened[place] = {ELEMENTS: above.flatten()}
            else:
                opened[place] = dict(zip((field.name for field in above.type), above.flatten(), strict=True))
        return opened[place]

    return [open_((number, path[:-1]))[path[-1]] for number, path in places]


def asked(raw: pa.Array, kind: pa.DataType) -> pa.Array:
    """What texts are as `kind`, NULL where one does not convert."""
    found = duck.run(converting(kind), v=table(raw.drop_null())).column(0).combine_chunks()
    return spread(found, raw.is_valid().to_numpy(zero_copy_only=False)) if raw.null_count else found


def spread(values: pa.Array, places: np.ndarray) -> pa.Array:
    """`values` where `places` (bool) says so, NULL elsewhere."""
    return values.take(pa.array(np.cumsum(places) - 1, mask=~places))


def bools(mask: pa.Array) -> np.ndarray:
    found: np.ndarray = mask.to_numpy(zero_copy_only=False)
    return found


class Keys:
    """Whether keys may have values in some of the `texts`, told from the bytes: searching all at once is several times
    faster than asking text by text. What has a backslash may have any key."""

    def __init__(self, texts: pa.Array) -> None:
        self._texts = texts
        self._known: list[tuple[np.ndarray, bytes]] = []

    def any(self, key: str, rows: np.ndarray) -> bool:
        """`rows` (bool) are the texts to look at. A key that is null throughout has no value."""
        data = next((data for known, data in self._known if np.array_equal(known, rows)), None)
        if data is None:
            buffer = self._texts.filter(pa.array(rows)).buffers()[2]
            data = b"" if buffer is None else buffer.to_pybytes()
            self._known.append((rows, data))
        quoted = f'"{key}"'.encode()
        found = data.count(quoted)
        if found:
            found -= data.count(quoted + b":null") + data.count(quoted + b": null")
        return found > 0 or b"\\" in data


def initials(texts: pa.Array) -> np.ndarray:
    """The first byte of each text (uint8), 0 where there is none: of a JSON value it says what the value is."""
    count = len(texts)
    found = np.zeros(count, np.uint8)
    buffers = texts.buffers()
    if not count or buffers[2] is None:
        return found
    bounds = np.frombuffer(buffers[1], np.int32, count + 1, texts.offset * 4)
    some = np.diff(bounds) > 0
    if texts.null_count:
        some &= bools(texts.is_valid())
    found[some] = np.frombuffer(buffers[2], np.uint8)[bounds[:-1][some]]
    return found
