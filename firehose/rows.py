"""Rows out of JSON records as the OpenX deserializer reads them: keys that ignore case, dots that become underscores.

Most producers write keys as the columns are called, and reading them as they stand is what the decoder is fast at. So only
records of which a column came out NULL are looked at again, and those with other keys are read with their keys rewritten.
Where many records are so, all are rewritten at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.formats.json import decode_json
from connectors.formats.schema import Column, Decoded, RowFault

EAGER_SHARE = 0.1
"""From this share of records with other keys on, reading them first as they stand costs more than it saves."""

_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class RowReader:
    """Of one delivery stream. A column's path names the JSON key that feeds it, as it is written in the configuration."""

    def __init__(self, columns: Sequence[Column], *, ignore_case: bool = True, dots: bool = False) -> None:
        self._columns = list(columns)
        self._ignore_case = ignore_case
        self._dots = dots
        self._rewritten = [Column(one.name, one.type, self._path(one)) for one in columns]
        other = ("A-Z" if ignore_case else "") + ("." if dots else "")
        # A key that may have to be rewritten: a letter, a dot or an escape between quotes, before a colon.
        self._other = rf'"[^"]*[{other}\\\x80-\x{{10FFFF}}][^"]*"\s*:' if other else None
        self._eager = False

    def read(self, data: pa.Array) -> Decoded:
        """`data` is binary, one record each."""
        if self._other is None or not len(data):
            return decode_json(data, self._columns)
        if self._eager:
            texts, changed = self._rewrite(data.to_pylist())
            self._eager = changed >= EAGER_SHARE * len(data)
            return decode_json(pa.array(texts, pa.binary()), self._rewritten)
        decoded = decode_json(data, self._columns)
        again = self._candidates(data, decoded)
        if not len(again):
            return decoded
        texts, changed = self._rewrite(data.take(pa.array(again)).to_pylist())
        self._eager = changed >= EAGER_SHARE * len(data)
        return _merged(decoded, decode_json(pa.array(texts, pa.binary()), self._rewritten), again)

    def _candidates(self, data: pa.Array, decoded: Decoded) -> np.ndarray:
        """Indices of the rows that have a NULL and a key to rewrite."""
        nulls = [column.is_null() for column in decoded.rows.columns if column.null_count]
        if not nulls:
            return np.zeros(0, np.int64)
        some = np.logical_or.reduce([mask.to_numpy(zero_copy_only=False) for mask in nulls])
        indices = decoded.source.to_numpy()[some]
        texts = data.take(pa.array(indices)).cast(pa.string())
        hits = pc.match_substring_regex(texts, self._other).to_numpy(zero_copy_only=False)
        found: np.ndarray = indices[hits]
        return found

    def _rewrite(self, records: Sequence[bytes]) -> tuple[list[bytes], int]:
        """The records with their keys rewritten, and how many that changed. What is no object stays as it is."""
        rewritten, changed = [], 0
        for record in records:
            try:
                members = _object(record)
            except (msgspec.DecodeError, UnicodeDecodeError):
                rewritten.append(record)
                continue
            after = {self._key(key): value for key, value in members.items()}
            if after.keys() == members.keys():
                rewritten.append(record)
            else:
                rewritten.append(_encode(after))
                changed += 1
        return rewritten, changed

    def _key(self, key: str) -> str:
        if self._dots:
            key = key.replace(".", "_")
        return key.lower() if self._ignore_case else key

    def _path(self, column: Column) -> str:
        """Where the value of `column` stands once keys are rewritten."""
        key = column.name if column.path is None else column.path.removeprefix('$."').removesuffix('"')
        return f'$."{self._key(key)}"'


def _merged(first: Decoded, second: Decoded, again: np.ndarray) -> Decoded:
    """`first` with the records at the indices `again` read as in `second`."""
    kept = ~np.isin(first.source.to_numpy(), again)
    rows = pa.Table.from_batches([first.rows.filter(pa.array(kept)), second.rows])
    source = np.concatenate([first.source.to_numpy()[kept], again[second.source.to_numpy()]])
    order = np.argsort(source, kind="stable")
    merged = rows.take(pa.array(order)).combine_chunks()
    batches = merged.to_batches()
    batch = batches[0] if batches else first.rows.slice(0, 0)
    faults = [*first.faults, *(RowFault(int(again[one.index]), one.code, one.message) for one in second.faults)]
    return Decoded(batch, pa.array(source[order]), tuple(sorted(faults, key=lambda fault: fault.index)))
