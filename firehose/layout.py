"""How records lie in an object: what a reader needs to find the record of an offset in it again."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np

from connectors.delivered.contract import FAILURES, LINES, ORC, PARQUET, Layout, packed
from connectors.formats.parquet import ParquetOptions
from firehose.buffer import DATA, Chunk, Piece
from firehose.configuration import Destination


def layout_of(chunk: Chunk, destination: Destination) -> Layout | None:
    """None where the object does not hold the records of the source as they were: a function has changed them, or they have
    been taken apart. Format conversion changes how a record is written, not which it is."""
    pieces = chunk.pieces
    if destination.function is not None or any(_apart(piece) or piece.arrivals is None for piece in pieces):
        return None
    by_shard: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        by_shard[piece.shard].append(piece)
    shards = tuple(sorted(by_shard))
    ordered = [piece for shard in shards for piece in by_shard[shard]]
    order, runs = None, 0
    if len(shards) > 1:
        numbers = [
            (shards.index(shard), sum(len(piece.offsets) for piece in run))
            for shard, run in itertools.groupby(pieces, lambda piece: piece.shard)
        ]
        order, runs = packed(np.array(numbers, np.int64).reshape(-1)), len(numbers)
    offsets = np.concatenate([piece.offsets for piece in ordered])
    rising = all((np.diff(np.concatenate([p.offsets for p in by_shard[shard]])) > 0).all() for shard in shards)
    data = chunk.partition.kind == DATA
    return Layout(
        _form(destination) if data else FAILURES,
        packed(np.concatenate([piece.arrivals for piece in ordered if piece.arrivals is not None])),
        shards,
        order,
        runs,
        None if rising else packed(offsets),
        destination.output.compression if data else "UNCOMPRESSED",
        data and destination.delimiter == b"\n",
    )


def _apart(piece: Piece) -> bool:
    return piece.counts is not None and bool((piece.counts != 1).any())


def _form(destination: Destination) -> str:
    if destination.conversion is None:
        return LINES
    return PARQUET if isinstance(destination.conversion.format, ParquetOptions) else ORC
