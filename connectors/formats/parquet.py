"""Rows as one Parquet file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.formats.unified import one_table

_CODECS: Mapping[str, str] = {"SNAPPY": "snappy", "GZIP": "gzip", "UNCOMPRESSED": "none"}
_PAGES: Mapping[str, str] = {"V1": "1.0", "V2": "2.0"}


@dataclass(frozen=True, slots=True)
class ParquetOptions:
    """Sizes are bytes before compression: `block_size` of a row group, `page_size` of a page."""

    compression: Literal["SNAPPY", "GZIP", "UNCOMPRESSED"] = "SNAPPY"
    dictionary: bool = True
    block_size: int = 256 << 20
    page_size: int = 1 << 20
    version: Literal["V1", "V2"] = "V1"


def write_parquet(file: BinaryIO, batches: Sequence[pa.RecordBatch], options: ParquetOptions | None = None) -> None:
    """Writes all rows of `batches` (at least one), whose schemas may have grown from one to the next. The same rows give the same bytes."""
    options = options or ParquetOptions()
    table = one_table(batches)
    pq.write_table(
        table,
        file,
        compression=_CODECS[options.compression],
        use_dictionary=options.dictionary,
        row_group_size=max(1, options.block_size * table.num_rows // max(1, table.nbytes)),
        data_page_size=options.page_size,
        data_page_version=_PAGES[options.version],
    )
