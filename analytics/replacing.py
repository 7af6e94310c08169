"""The rows of a program's table: those of a group take the place of the ones that it had."""

from __future__ import annotations

import pyarrow as pa

from analytics.operators.work import Change
from analytics.plan import StreamPlan


def replaced(table: StreamPlan, changed: pa.Table | None, rows: pa.Table | None) -> list[Change]:
    """What makes the groups of the rows `changed` those that `rows` say."""
    if changed is None or rows is None:
        return []
    keys = [name for name, _ in table.keys]
    groups = changed.select(["rt", *table.changed]).rename_columns(["rt", *keys])
    same = " AND ".join(f"{table.kept}.{key} IS NOT DISTINCT FROM added.{key}" for key in keys) or "TRUE"
    names = ", ".join(rows.column_names)
    return [
        Change(f"DELETE FROM {table.kept} USING added WHERE {same}", groups),
        Change(f"INSERT INTO {table.kept} ({names}) SELECT {names} FROM added", rows),
    ]
