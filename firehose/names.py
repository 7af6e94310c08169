"""Names of objects, made from what is in them: ``<prefix><stream>-<version>-<yyyy-MM-dd-HH-mm-ss>-<uuid><extension>``.

The UUID is version 5 over the delivery stream's incarnation, its version, its lane, the partition and the source's offset ranges,
so the same records get the same name, and others another.
"""

from __future__ import annotations

import hashlib
import random
import string
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from firehose.buffer import Chunk
from firehose.events import MAIN
from firehose.javatime import format_time
from firehose.ledger import Coverage
from firehose.stream import Lane

KEY_SIZE_MAX = 1024
"""Bytes of a key, in S3."""
SEGMENT_SIZE_MAX = 255
"""Bytes of a file's name, in the file systems that matter."""

_NAMESPACE = uuid.UUID("5f0d1d38-7e0c-5c3b-9b55-4b1f4f6e2c11")
_RANDOM_LETTERS = string.ascii_letters + string.digits


def moment(at_ms: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)


def time_zone(name: str | None) -> tzinfo:
    """Raises ZoneInfoNotFoundError (a KeyError) or ValueError for a name that the time zone database does not have."""
    return UTC if name in (None, "UTC") else ZoneInfo(name or "UTC")


def object_id(lane: Lane, chunk: Chunk, coverage: Iterable[Coverage]) -> uuid.UUID:
    created = lane.stream.created
    parts = [lane.arn, str(created.number), str(created.at_ms), lane.source.id, lane.version]
    if lane.id != MAIN:
        parts.append(lane.id)
    parts += [chunk.partition.kind, *chunk.partition.values]
    for part in coverage:
        parts.append(f"{part.shard}:{part.first}-{part.next}:{chunk.records}")
        if part.parts is not None:
            parts.append(hashlib.sha256(part.parts.packed).hexdigest())
    return uuid.uuid5(_NAMESPACE, "\0".join(parts))


def object_suffix(lane: Lane, at: datetime, identity: uuid.UUID, extension: str) -> str:
    return f"{lane.name}-{lane.version}-{format_time('yyyy-MM-dd-HH-mm-ss', at)}-{identity}{extension}"


def random_strings(identity: uuid.UUID) -> random.Random:
    """The randomness of `!{firehose:random-string}`: one stream of it for each object."""
    return random.Random(identity.int)


def random_string(source: random.Random) -> str:
    return "".join(source.choices(_RANDOM_LETTERS, k=11))


def key_fits(key: str) -> bool:
    """Whether a store can have an object of this name."""
    if len(key.encode()) > KEY_SIZE_MAX:
        return False
    return all(len(segment.encode()) <= SEGMENT_SIZE_MAX for segment in key.split("/"))
