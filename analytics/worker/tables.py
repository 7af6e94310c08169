"""Tables of an application for whoever asked: in a file, as Arrow; out of one at work, or out of the state that it left."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from analytics.showing import read, shown
from analytics.worker.messages import Failed, ReadDone, ReadState, Tables, TableSpec

READ_ROWS_MAX = 65_536
"""Rows of a batch of a table that is read: what a reader has in memory at once."""


def write_tables(tables: Mapping[str, pa.Table], names: Sequence[str], path: str) -> None:
    """An Arrow stream each, in the order of `names`. The file appears when it is whole."""
    with open(f"{path}.part", "wb") as file:
        for name in names:
            with pa.ipc.new_stream(file, tables[name].schema) as writer:
                writer.write_table(tables[name], max_chunksize=READ_ROWS_MAX)
    os.replace(f"{path}.part", path)


def answer_of(question: ReadState) -> Tables | ReadDone | Failed:
    """Raises `SqlError` for names that are none."""
    if not os.path.exists(question.state):
        return Failed("it has never run, so there is nothing to read")
    try:
        with duckdb.connect(question.state, read_only=True) as connection:
            known = shown(connection)
            if question.tables is None:
                return Tables({each.name: TableSpec(each.kind, dict(each.columns)) for each in known})
            for each in known:
                if each.kind == "reference" and each.name in question.tables:
                    return Failed(f"{each.name} is a reference table, which is read from its file only while it runs")
            write_tables(read(connection, question.tables), list(question.tables), question.path)
            return ReadDone(0)
    except duckdb.CatalogException:
        return Failed("its state is of an earlier release, and says what it has once it has run again")
    except (duckdb.Error, OSError, MemoryError, pa.ArrowException) as error:
        return Failed(f"its state cannot be read: {str(error).splitlines()[0] if str(error) else error!r}")
