"""Rows as one ORC file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal

import pyarrow as pa
import pyarrow.orc

from connectors.formats.unified import one_table

_CODECS: Mapping[str, str] = {"SNAPPY": "snappy", "ZLIB": "zlib", "NONE": "uncompressed"}
_VERSIONS: Mapping[str, str] = {"V0_11": "0.11", "V0_12": "0.12"}


@dataclass(frozen=True, slots=True)
class OrcOptions:
    """`stripe_size` is bytes; `row_index_stride` rows; the others are shares from 0 to 1. `bloom_columns` are names."""

    compression: Literal["SNAPPY", "ZLIB", "NONE"] = "SNAPPY"
    stripe_size: int = 64 << 20
    row_index_stride: int = 10_000
    padding_tolerance: float = 0.0
    dictionary_threshold: float = 0.0
    bloom_columns: tuple[str, ...] = ()
    bloom_false_positives: float = 0.05
    version: Literal["V0_11", "V0_12"] = "V0_12"


def write_orc(file: BinaryIO, batches: Sequence[pa.RecordBatch], options: OrcOptions | None = None) -> None:
    """Writes all rows of `batches` (at least one), whose schemas may have grown from one to the next. The same rows give the same bytes. A Bloom filter
    that is asked for a column which the schema does not have is left out."""
    options = options or OrcOptions()
    table = one_table(batches)
    names = [name.lower() for name in table.schema.names]
    bloom = [names.index(name.lower()) for name in options.bloom_columns if name.lower() in names]
    pyarrow.orc.write_table(
        table,
        pa.PythonFile(file, mode="w"),
        compression=_CODECS[options.compression],
        stripe_size=options.stripe_size,
        row_index_stride=options.row_index_stride,
        padding_tolerance=options.padding_tolerance,
        dictionary_key_size_threshold=options.dictionary_threshold,
        bloom_filter_columns=bloom or None,
        bloom_filter_fpp=options.bloom_false_positives,
        file_version=_VERSIONS[options.version],
    )
