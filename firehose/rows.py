"""Rows out of JSON records as AWS's deserializers read them: keys that ignore case, dots that become underscores.
So are the keys of structs; those of maps are data, and stay as they are.

Most producers write keys as the columns are called, and reading them as they stand is what the decoder is fast at. So only
records of which a column came out NULL are looked at again, and those with other keys are read with their keys rewritten.
Where many records are so, all are rewritten at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.formats.dialect import LENIENT, Dialect
from connectors.formats.json import decode_json
from connectors.formats.schema import Column, Decoded, RowFault

EAGER_SHARE = 0.1
"""From this share of records with other keys on, reading them first as they stand costs more than it saves."""

_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class RowReader:
    """Of one delivery stream. A column's path names the JSON key that feeds it, as it is written in the configuration."""

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        ignore_case: bool = True,
        dots: bool = False,
        dialect: Dialect = LENIENT,
        evolved: Mapping[str, str] | None = None,
    ) -> None:
        """`evolved` are the Hive types of columns that came by schema drift, by their names."""
        self._columns = list(columns)
        self._dialect = dialect
        self._ignore_case = ignore_case
        self._dots = dots
        self._rewritten = [Column(one.name, one.type, self._path(one)) for one in columns]
        self._nested = {self._source(one): one.type for one in columns if _has_structs(one.type)}
        self.columns = {self._source(one): one.name for one in columns}
        """The column that each key feeds; keys as `key` has them."""
        self.evolved = {key: evolved[name] for key, name in self.columns.items() if evolved and name in evolved}
        """Hive types of the columns that may widen, by their keys."""
        other = ("A-Z" if ignore_case else "") + ("." if dots else "")
        # A key that may have to be rewritten: a letter, a dot or an escape between quotes, before a colon.
        self._other = rf'"[^"]*[{other}\\\x80-\x{{10FFFF}}][^"]*"\s*:' if other else None
        self._eager = False

    def read(self, data: pa.Array) -> Decoded:
        """`data` is binary, one record each."""
        if self._other is None or not len(data):
            return decode_json(data, self._columns, self._dialect)
        if self._eager:
            texts, changed = self._rewrite(data.to_pylist())
            self._eager = changed >= EAGER_SHARE * len(data)
            return decode_json(pa.array(texts, pa.binary()), self._rewritten, self._dialect)
        decoded = decode_json(data, self._columns, self._dialect)
        again = self._candidates(data, decoded)
        if not len(again):
            return decoded
        texts, changed = self._rewrite(data.take(pa.array(again)).to_pylist())
        self._eager = changed >= EAGER_SHARE * len(data)
        return _merged(decoded, decode_json(pa.array(texts, pa.binary()), self._rewritten, self._dialect), again)

    def _candidates(self, data: pa.Array, decoded: Decoded) -> np.ndarray:
        """Indices of the rows that have a NULL and a key to rewrite."""
        nulls = [mask for column in decoded.rows.columns if (mask := _with_null(column)) is not None]
        if not nulls:
            return np.zeros(0, np.int64)
        some = np.logical_or.reduce(nulls)
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
            after: dict[str, Any] = {self.key(key): value for key, value in members.items()}
            same = after.keys() == members.keys()
            for key, kind in self._nested.items():
                if key in after:
                    inner = self._renamed(after[key], kind)
                    same &= inner is after[key]
                    after[key] = inner
            if same:
                rewritten.append(record)
            else:
                rewritten.append(_encode(after))
                changed += 1
        return rewritten, changed

    def _renamed(self, value: msgspec.Raw, kind: pa.DataType) -> Any:
        """A value with the keys of its structs as `kind` spells them; the same object where nothing changes."""
        try:
            if pa.types.is_list(kind):
                elements: list[Any] = _array(value)
                inner: Any = [self._renamed(element, kind.value_type) for element in elements]
                return value if all(a is b for a, b in zip(elements, inner, strict=True)) else inner
            members = _object(value)
        except msgspec.DecodeError:
            return value
        if pa.types.is_map(kind):
            inner = {key: self._renamed(part, kind.item_type) for key, part in members.items()}
        elif pa.types.is_struct(kind):
            inner = {}
            named = {self.key(part.name): part for part in kind}
            for key, one in members.items():
                part = named.get(self.key(key))
                inner[key if part is None else part.name] = one if part is None else self._renamed(one, part.type)
        else:
            return value
        same = inner.keys() == members.keys() and all(inner[key] is part for key, part in members.items())
        return value if same else inner

    def key(self, key: str) -> str:
        """A key of a record as columns are matched with it."""
        if self._dots:
            key = key.replace(".", "_")
        return key.lower() if self._ignore_case else key

    def _path(self, column: Column) -> str:
        """Where the value of `column` stands once keys are rewritten."""
        return f'$."{self._source(column)}"'

    def _source(self, column: Column) -> str:
        """The key of `column` once keys are rewritten."""
        return self.key(column.name if column.path is None else column.path.removeprefix('$."').removesuffix('"'))


def _has_structs(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return _has_structs(kind.value_type)
    if pa.types.is_map(kind):
        return _has_structs(kind.item_type)
    return bool(pa.types.is_struct(kind))


def _with_null(values: pa.Array) -> np.ndarray | None:
    """Which of the values have a NULL that a key of another spelling may stand for; None: not one."""
    found: np.ndarray | None = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
    if not _has_structs(values.type):
        return found
    if pa.types.is_struct(values.type):
        masks = [_with_null(part) for part in values.flatten()]
    else:
        parts = values.flatten() if pa.types.is_list(values.type) else values.items
        inner = _with_null(parts)
        if inner is None:
            return found
        counts = np.diff(values.offsets.to_numpy())
        owners = np.repeat(np.arange(len(values)), counts)
        masks = [np.bincount(owners[inner], minlength=len(values)) > 0]
    for mask in masks:
        if mask is not None:
            found = mask if found is None else found | mask
    return found


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
