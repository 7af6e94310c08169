"""What a lane's driver is told about its lane: where its records go, and how much it reads at once."""

from __future__ import annotations

from firehose.configuration import Destination
from firehose.events import MAIN
from firehose.outputs import MIB, Compat
from firehose.partitions import ACTIVE_MAX_OF_AWS
from firehose.stream import Lane
from streams.sdk.client import FETCH_SIZE_MAX

DECOMPRESSING_SIZE_MAX = 256 << 10
"""Bytes of one read of records that are decompressed: gzip grows up to a thousandfold."""


def destination_of(lane: Lane, compat: Compat) -> Destination:
    configuration = lane.stream.created.destination
    if lane.id == MAIN:
        return Destination.of(lane.stream.created.kind, configuration, compat)
    backup = Destination.of_backup(configuration, compat)
    assert backup is not None, "a lane of originals runs only where they are kept"
    return backup


def read_size(destination: Destination) -> int:
    """Bytes of one read: no more than an object has room for, so that sizes stay near the hint."""
    size_max = DECOMPRESSING_SIZE_MAX if destination.splitting.decompress else FETCH_SIZE_MAX
    return min(size_max, max(MIB, destination.output.size_max))


def spills(destination: Destination, partitions_max: int) -> bool:
    """Whether what waits may go to disk: where more partitions may be active than AWS's, each of them small."""
    return destination.partitioned and partitions_max > ACTIVE_MAX_OF_AWS
