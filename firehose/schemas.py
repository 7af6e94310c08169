"""A table's columns → what reads its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connectors.formats.schema import Column
from firehose.conversion import Conversion
from firehose.events import ColumnSpec
from firehose.hive import arrow_type
from firehose.rows import RowReader


def row_reader(specs: Sequence[ColumnSpec], conversion: Conversion) -> RowReader:
    """What reads rows of these columns as the conversion says."""
    columns = columns_of(specs, conversion.column_paths)
    return RowReader(
        columns,
        ignore_case=conversion.ignore_case,
        dots=conversion.dots,
        dialect=conversion.dialect,
        evolved={spec.name: spec.type for spec in specs if spec.evolved},
    )


def columns_of(specs: Sequence[ColumnSpec], paths: Mapping[str, str]) -> list[Column]:
    """`paths` are the JSON paths of columns that are not fed by the key of their name."""
    return [Column(spec.name, arrow_type(spec.type), paths.get(spec.name)) for spec in specs]
