"""Arrays, maps and structs out of JSON, a batch at a time: a tree of Arrow arrays for each column, a leaf for all values
of one kind in it.

`json_transform` reads the shape, and makes NULL of what does not fit. So where a NULL may be a value of another kind, the
texts at that place are looked at: one statement for all such places of a batch, over the records that have them. Maps come
as JSON text and are taken apart by `json_keys`: a key that comes twice has its last value.

A value that does not fit, however deep, is a fault of its record. Objects may have keys that a struct has not, and the
other way round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.formats import duck
from connectors.formats.dialect import LENIENT, Dialect
from connectors.formats.json_lookup import Keys, asked, at, bools, initials, spread, table
from connectors.formats.json_plan import ELEMENTS, complaint, is_nested, look, read_as
from connectors.formats.json_values import ambiguous, typed
from connectors.formats.schema import RowFault

_OBJECT = ord("{")


@dataclass(slots=True, eq=False)
class Node:
    """One place of a column. `raw` are the values there of all records, as DuckDB gave them, and `rows` (int64) the number
    of each one's record; `inside` (bool, None: all) says which lie in something that exists. `path` leads to it from the
    record, `where` is how messages call it."""

    kind: pa.DataType
    path: tuple[str, ...]
    where: str
    raw: pa.Array
    rows: np.ndarray
    inside: np.ndarray | None = None
    below: list[Node] = field(default_factory=list)
    value: pa.Array | None = None
    offsets: np.ndarray | None = None

    def every(self) -> Iterator[Node]:
        """The node and what is below it, but not in maps, which are read apart."""
        yield self
        if pa.types.is_map(self.kind):
            return
        for node in self.below:
            yield from node.every()


def nested(
    columns: Sequence[Node], texts: pa.Array, faults: dict[int, RowFault], dialect: Dialect = LENIENT
) -> list[pa.Array]:
    """The values of nested columns in the JSON `texts`; `faults` of records are added to."""
    for column in columns:
        _open(column, faults, dialect)
    nodes = [node for column in columns for node in column.every()]
    doubtful = []
    for node in nodes:
        mask = _doubtful(node)
        if mask is not None:
            doubtful.append((node, mask))
    if doubtful:
        _resolve(doubtful, texts, faults)
    return [_built(column) for column in columns]


def _open(node: Node, faults: dict[int, RowFault], dialect: Dialect) -> None:
    """Makes the tree below a node, and the values of its leaves as far as they are plain."""
    kind, raw = node.kind, node.raw
    if pa.types.is_struct(kind):
        inside = bools(raw.is_valid())
        if node.inside is not None:
            inside &= node.inside
        for part, values in zip(kind, raw.flatten(), strict=True):
            where, path = f"{node.where}.{part.name}", (*node.path, part.name)
            node.below.append(Node(part.type, path, where, values, node.rows, inside))
    elif pa.types.is_list(kind):
        counts = pc.list_value_length(raw).fill_null(0).to_numpy(zero_copy_only=False)
        node.offsets = _offsets(counts)
        rows = np.repeat(node.rows, counts)
        node.below.append(Node(kind.value_type, (*node.path, ELEMENTS), f"{node.where}[]", raw.flatten(), rows))
    elif pa.types.is_map(kind):
        _open_map(node, faults, dialect)
        return
    else:
        value = dialect.times(raw, kind) if dialect.reads(kind) else typed(raw, kind)
        if value is None:
            value = asked(raw, kind)
        node.value = value
        if value.null_count and not ambiguous(kind):
            _mark(node, bools(pc.and_(raw.is_valid(), value.is_null())), raw, faults)
        return
    for part in node.below:
        _open(part, faults, dialect)


def _open_map(node: Node, faults: dict[int, RowFault], dialect: Dialect) -> None:
    """`raw` is the JSON text of each map."""
    kind, raw = node.kind, node.raw
    objects = initials(raw) == _OBJECT
    _mark(node, bools(raw.is_valid()) & ~objects, raw, faults)
    text = "json_extract_string" if pa.types.is_string(kind.item_type) else "json_extract"
    taken = duck.run(f"SELECT json_keys(t) AS k, {text}(t, '$.*') AS i FROM v", v=table(raw.filter(pa.array(objects))))
    keys, items = (part.combine_chunks() for part in taken.columns)
    counts = np.zeros(len(raw), np.int64)
    counts[objects] = pc.list_value_length(keys).to_numpy(zero_copy_only=False)
    maps = np.repeat(np.arange(len(raw)), counts)
    names, values = keys.flatten().cast(pa.string()), items.flatten().cast(pa.string())
    key = _key(kind.key_type, names, f"{node.where} (key)", node.rows[maps], faults, dialect)
    assert key.value is not None
    kept = _last_of_each(key.value, maps)
    if len(kept) < len(maps):
        maps, values = maps[kept], values.take(pa.array(kept))
        key.value = key.value.take(pa.array(kept))
    node.offsets, node.value = _offsets(np.bincount(maps, minlength=len(raw))), pa.array(objects)
    item = _item(kind.item_type, values, f"{node.where}{{}}", node.rows[maps], faults, dialect)
    node.below = [key, item]


def _key(
    kind: pa.DataType, texts: pa.Array, where: str, rows: np.ndarray, faults: dict[int, RowFault], dialect: Dialect
) -> Node:
    if dialect.reads(kind):
        value = dialect.times(texts, kind)
    else:
        value = texts if pa.types.is_string(kind) else asked(texts, kind)
    node = Node(kind, (), where, texts, rows, value=value)
    _mark(node, bools(value.is_null()), texts, faults)
    return node


def _item(
    kind: pa.DataType, texts: pa.Array, where: str, rows: np.ndarray, faults: dict[int, RowFault], dialect: Dialect
) -> Node:
    """The values of maps, from their JSON texts; strings are themselves."""
    if pa.types.is_string(kind):
        return Node(kind, (), where, texts, rows, value=texts)
    # As the one key of an object, a value is read like a column.
    wrapped = pc.binary_join_element_wise('{"v":', texts, "}", "", null_handling="emit_null").fill_null("{}")
    sql, places = look([("v",)], [read_as(kind)])
    (raw,) = at(duck.run(sql, v=table(wrapped)), places)
    inner: dict[int, RowFault] = {}
    tree = Node(kind, ("v",), where, raw, np.arange(len(texts)))
    (value,) = nested([tree], wrapped, inner, dialect)
    for number, fault in inner.items():
        row = int(rows[number])
        faults.setdefault(row, RowFault(row, fault.code, fault.message))
    return Node(kind, (), where, texts, rows, value=value)


def _last_of_each(keys: pa.Array, maps: np.ndarray) -> np.ndarray:
    """The places of a map's entries without those whose key comes again, and without keys that are none."""
    codes = keys.dictionary_encode().indices.fill_null(-1).to_numpy().astype(np.int64)
    both = maps * (len(codes) + 1) + codes
    _, from_end = np.unique(both[::-1], return_index=True)
    last: np.ndarray = np.sort(len(both) - 1 - from_end)
    return last[codes[last] >= 0]


def _doubtful(node: Node) -> np.ndarray | None:
    """Which NULLs of a node may be values of another kind; None: not one."""
    if pa.types.is_map(node.kind) or not (is_nested(node.kind) or ambiguous(node.kind)):
        return None
    found = node.raw if node.value is None else node.value
    if pa.types.is_struct(node.kind):
        # In an array, what is no object comes as an object with nothing in it.
        mask = np.logical_and.reduce([bools(part.raw.is_null()) for part in node.below])
    elif found.null_count:
        mask = bools(found.is_null())
    else:
        return None
    if node.inside is not None:
        mask &= node.inside
    return mask if mask.any() else None


def _resolve(doubtful: list[tuple[Node, np.ndarray]], texts: pa.Array, faults: dict[int, RowFault]) -> None:
    """Looks at the texts of what is NULL: what is there after all becomes a value, or a fault."""
    keys, wanted = Keys(texts), np.zeros(len(texts), bool)
    asking = []
    for node, mask in doubtful:
        rows = np.zeros(len(texts), bool)
        rows[node.rows[mask]] = True
        if node.path[-1] == ELEMENTS or keys.any(node.path[-1], rows):
            asking.append((node, mask))
            wanted |= rows
    if not asking:
        return
    kinds = ["JSON" if pa.types.is_struct(node.kind) else "VARCHAR" for node, _ in asking]
    sql, places = look([node.path for node, _ in asking], kinds)
    found = at(duck.run(sql, v=table(texts.filter(pa.array(wanted)))), places)
    for (node, mask), text in zip(asking, found, strict=True):
        there = pc.if_else(pa.array(mask), spread(text, wanted[node.rows]), pa.scalar(None, pa.string()))
        if there.null_count == len(there):
            continue
        if node.value is None:
            other = initials(there) != _OBJECT if pa.types.is_struct(node.kind) else True
            _mark(node, bools(there.is_valid()) & other, there, faults)
            continue
        value = asked(there, node.kind)
        node.value = pc.coalesce(node.value, value)
        _mark(node, bools(pc.and_(there.is_valid(), value.is_null())), there, faults)


def _mark(node: Node, bad: np.ndarray, texts: pa.Array, faults: dict[int, RowFault]) -> None:
    """The records with values at `bad` (bool) fail."""
    for place in np.flatnonzero(bad).tolist():
        row = int(node.rows[place])
        if row not in faults:
            faults[row] = RowFault(row, "CoercionError", complaint(node.where, texts[place].as_py(), node.kind))


def _built(node: Node) -> pa.Array:
    """The array of a tree."""
    kind = node.kind
    if pa.types.is_struct(kind) and node.below:
        parts = [_built(part) for part in node.below]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=_nulls(node.raw))
    if pa.types.is_list(kind) and node.below:
        (part,) = node.below
        return pa.ListArray.from_arrays(pa.array(node.offsets), _built(part), type=kind, mask=_nulls(node.raw))
    if pa.types.is_map(kind) and node.below:
        keys, items = (_built(part) for part in node.below)
        assert node.value is not None
        nulls = pc.invert(node.value) if pc.any(pc.invert(node.value)).as_py() else None
        return pa.MapArray.from_arrays(pa.array(node.offsets), keys, items, type=kind, mask=nulls)
    assert node.value is not None
    return node.value


def _nulls(raw: pa.Array) -> pa.Array | None:
    return raw.is_null() if raw.null_count else None


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
