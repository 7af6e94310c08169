"""Delivery streams that follow a table: what they take of a new version of it. Also the other way round: what schema drift makes of a table.

A delivery stream whose conversion names the version LATEST takes each new version by itself, in the same entry of the
journal that makes it. One that rows cannot have, a type that is none for instance, is left out: the last good one stays.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import Any

from firehose.catalog import Catalog
from firehose.conversion import Conversion
from firehose.events import EXTENDED_S3, Event, SchemaTaken, TableUpdated
from firehose.evolution import Kind, evolved
from firehose.resources import EVOLVED, check_drift, table_columns
from firehose.schemas import row_reader
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
    events = []
    for stream in followers(catalog, scope, database, name):
        try:
            columns = table_columns(f"{database}.{name}", table)
            conversion = Conversion.of(stream.created.destination)
            assert conversion is not None, "who follows a table writes rows"
            check_drift(stream.created.tags, conversion, columns)
        except InvalidArgument as error:
            log.warning("%s leaves out version %d of its table: %s", stream.arn, version, error.message)
            continue
        events.append(SchemaTaken(stream.number, str(version), columns))
    return events


def drifted(catalog: Catalog, stream: DeliveryStream, found: Mapping[str, Kind], now_ms: int) -> list[Event]:
    """The next version of the table that a delivery stream writes, with columns for what was found under some keys; nothing
    where it has them, or where there is no such table any more."""
    conversion = Conversion.of(stream.created.destination)
    assert conversion is not None, "only rows drift"
    database, name = conversion.table
    table = catalog.tables.table(stream.scope, database, name)
    if table is None:
        log.warning("%s: table %s.%s is gone, so it gets no columns", stream.arn, database, name)
        return []
    try:
        before = table_columns(f"{database}.{name}", table.current.input)
    except InvalidArgument as error:
        log.warning("%s: table %s.%s gets no columns: %s", stream.arn, database, name, error.message)
        return []
    # What a table is partitioned by stands in the names of folders, and readers refuse a column of the same name.
    folders = {key["Name"].lower() for key in table.current.input.get("PartitionKeys", ())}
    wanted = {key: kind for key, kind in found.items() if key not in folders}
    after = evolved(before, row_reader(before, conversion).columns, wanted)
    if after == list(before):
        return []
    given = copy.deepcopy(table.current.input)
    listed = given["StorageDescriptor"]["Columns"]
    for number, spec in enumerate(after):
        if number == len(listed):
            listed.append({"Name": spec.name, "Parameters": {EVOLVED: "true"}})
        listed[number]["Type"] = spec.type
    version = table.current.number + 1
    where = (stream.scope.account, stream.scope.region, database, name)
    updated = TableUpdated(*where, now_ms, version, given)
    return [updated, *taken(catalog, stream.scope, database, name, version, given)]
