"""Dynamic partitioning: which records share an object, by keys from the function or from a jq query."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from firehose.buffer import DATA, Partition
from firehose.configuration import Destination
from firehose.errors import EXTRACTION, Fault
from firehose.names import KEY_SIZE_MAX, key_fits
from firehose.prefix import FROM_FUNCTION, Expression
from firehose.query import Keys

ACTIVE_MAX_OF_AWS = 500
"""Partitions in the buffer at once, AWS's default: each is an open object with memory of its own. Where there may be more,
they wait on disk: see `firehose.spill`."""

NULL_OR_EMPTY = "partitionKeys values must not be null or empty"
TOO_LONG = "partitionKeys values make an object key that is too long"
TOO_MANY = "Active partitions limit of {} exceeded"

_FAILED = "DynamicPartitioning.MetadataExtractionFailed"
_EXCEEDED = "DynamicPartitioning.ActivePartitionsLimitExceeded"

_NAME_ROOM = 200
"""Bytes of a key that the object's own name and the times in its prefix may take."""


class Partitioner:
    def __init__(self, destination: Destination, active_max: int) -> None:
        self._expressions = destination.output.prefix.keys
        self._active_max = active_max

    def group(
        self,
        data: pa.Array,
        index: np.ndarray,
        keys: Sequence[dict[str, Any] | None] | None,
        asked: Sequence[Keys] | None,
        faults: list[Fault],
        active: Collection[Partition],
    ) -> list[tuple[Partition, np.ndarray]]:
        """(partition, places) of the records that have all keys. `keys` come from the function, `asked` from the query;
        `active` are the partitions of the buffer."""
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        nothing: list[None] = [None] * len(data)
        for place, (given, answer) in enumerate(zip(keys or nothing, asked or nothing, strict=True)):
            if isinstance(answer, str):
                faults.append(Fault(int(index[place]), EXTRACTION, _FAILED, answer))
                continue
            values = self._values(given or {}, answer or {})
            if values is None:
                faults.append(Fault(int(index[place]), EXTRACTION, _FAILED, NULL_OR_EMPTY))
            else:
                groups[values].append(place)
        room = self._active_max - sum(partition.kind == DATA for partition in active)
        done = []
        for values, places in groups.items():
            partition = Partition(DATA, values)
            if not all(key_fits(value) for value in values) or sum(map(len, values)) > KEY_SIZE_MAX - _NAME_ROOM:
                faults += [Fault(int(index[place]), EXTRACTION, _FAILED, TOO_LONG) for place in places]
            elif partition not in active and room <= 0:
                message = TOO_MANY.format(self._active_max)
                faults += [Fault(int(index[place]), EXTRACTION, _EXCEEDED, message) for place in places]
            else:
                room -= partition not in active
                done.append((partition, np.array(places, np.int64)))
        return done

    def _values(self, given: dict[str, Any], asked: dict[str, Any]) -> tuple[str, ...] | None:
        """The key's values in the order of the prefix, None if one is missing, null, empty or no scalar."""
        values = []
        for expression in self._expressions:
            source = given if expression.namespace == FROM_FUNCTION else asked
            value = _text(source.get(expression.value))
            if not value:
                return None
            values.append(value)
        return tuple(values)


def keys_of(expressions: Sequence[Expression], partition: Partition) -> dict[Expression, str]:
    """What the prefix's expressions stand for in this partition."""
    return dict(zip(expressions, partition.values, strict=True)) if partition.kind == DATA else {}


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case bool() | int() | float():
            return msgspec.json.encode(value).decode()
    return ""
