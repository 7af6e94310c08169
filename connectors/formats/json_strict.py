"""Whether values are of the kind that their columns take: a number, a text, true or false.

Values are told apart by the first byte of their JSON, all of a column at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.formats import duck
from connectors.formats.dialect import initials_of
from connectors.formats.json_lookup import at, bools, initials, table
from connectors.formats.json_plan import complaint, is_nested, look, read_as
from connectors.formats.schema import RowFault


def check_kinds(
    texts: pa.Array,
    paths: Sequence[tuple[str, ...]],
    kinds: Sequence[pa.DataType],
    names: Sequence[str],
    rows: np.ndarray,
    faults: dict[int, RowFault],
) -> None:
    """Adds the faults of records with a value of another kind. `texts` are JSON objects, or anything else, which is left
    alone; ``rows[i]`` is the number of the record that text i is of."""
    shapes = [read_as(kind, leaf="JSON") for kind in kinds]
    sql, places = look(paths, shapes)
    found = at(duck.run(sql, v=table(texts)), places)
    for values, kind, name in zip(found, kinds, names, strict=True):
        _check(values, kind, name, rows, faults)


def _check(values: pa.Array, kind: pa.DataType, where: str, rows: np.ndarray, faults: dict[int, RowFault]) -> None:
    if pa.types.is_struct(kind):
        for part, inner in zip(kind, values.flatten(), strict=True):
            _check(inner, part.type, f"{where}.{part.name}", rows, faults)
    elif pa.types.is_list(kind):
        counts = pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False)
        _check(values.flatten(), kind.value_type, f"{where}[]", np.repeat(rows, counts), faults)
    elif pa.types.is_map(kind):
        _check_map(values, kind.item_type, f"{where}{{}}", rows, faults)
    else:
        allowed = np.zeros(256, bool)
        allowed[list(initials_of(kind))] = True
        allowed[0] = True
        for place in np.flatnonzero(~allowed[initials(values)]).tolist():
            row = int(rows[place])
            if row not in faults:
                faults[row] = RowFault(row, "CoercionError", complaint(where, values[place].as_py(), kind))


def _check_map(texts: pa.Array, kind: pa.DataType, where: str, rows: np.ndarray, faults: dict[int, RowFault]) -> None:
    maps = initials(texts) == ord("{")
    taken = duck.run("SELECT json_extract(t, '$.*') AS i FROM v", v=table(texts.filter(pa.array(maps))))
    items = taken.column(0).combine_chunks()
    rows = np.repeat(rows[maps], pc.list_value_length(items).to_numpy(zero_copy_only=False))
    values = items.flatten().cast(pa.string())
    if not is_nested(kind):
        nothing = bools(pc.equal(values, "null"))
        _check(pc.if_else(pa.array(nothing), pa.scalar(None, pa.string()), values), kind, where, rows, faults)
        return
    wrapped = pc.binary_join_element_wise('{"v":', values, "}", "")
    check_kinds(wrapped, [("v",)], [kind], [where], rows, faults)
