"""Delivery streams that follow a table: what they take of a new version of it.

A delivery stream whose conversion names the version LATEST takes each new version by itself, in the same entry of the
journal that makes it. One that rows cannot have, a type that is none for instance, is left out: the last good one stays.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from firehose.catalog import Catalog
from firehose.conversion import Conversion
from firehose.events import EXTENDED_S3, SchemaTaken
from firehose.resources import table_columns
from firehose.stream import DeliveryStream
from streams.core.errors import InvalidArgument
from streams.core.scope import Scope

log = logging.getLogger(__name__)


def followers(catalog: Catalog, scope: Scope, database: str, name: str) -> list[DeliveryStream]:
    """The delivery streams that take the latest version of a table."""
    found = []
    for stream in catalog:
        if stream.scope != scope or stream.created.kind != EXTENDED_S3 or stream.deleting_ms is not None:
            continue
        conversion = Conversion.of(stream.created.destination)
        if conversion is not None and conversion.table == (database, name) and conversion.version is None:
            found.append(stream)
    return found


def taken(
    catalog: Catalog, scope: Scope, database: str, name: str, version: int, table: Mapping[str, Any]
) -> list[SchemaTaken]:
    """What a new version of a table, Glue's TableInput, is to the delivery streams that follow it."""
    streams = followers(catalog, scope, database, name)
    if not streams:
        return []
    try:
        columns = table_columns(f"{database}.{name}", table)
    except InvalidArgument as error:
        log.warning("version %d of table %s.%s is left out: %s", version, database, name, error.message)
        return []
    return [SchemaTaken(stream.number, str(version), columns) for stream in streams]
