"""UpdateDestination: what an update leaves of a configuration, and the next version of it.

An update of the same type merges: members that it does not name keep their values. One of another type merges nothing and
needs all that a create needs. Only a real change makes a new version; what is buffered is delivered under it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from firehose.catalog import Catalog
from firehose.configuration import Destination, complete, keeps_originals, plain
from firehose.context import DESTINATION_ID, Context
from firehose.events import BACKUP, EXTENDED_S3, BackedUp, Event, Updated
from firehose.resources import check_resources
from firehose.stream import DeliveryStream
from streams.core.errors import ConcurrentModification, InvalidArgument
from streams.core.scope import Scope

_UPDATES = {
    "s3_destination_update": "S3",
    "extended_s3_destination_update": EXTENDED_S3,
    "redshift_destination_update": "Redshift",
    "elasticsearch_destination_update": "Elasticsearch",
    "amazonopensearchservice_destination_update": "AmazonOpenSearchService",
    "amazon_open_search_serverless_destination_update": "AmazonOpenSearchServerless",
    "splunk_destination_update": "Splunk",
    "http_endpoint_destination_update": "HttpEndpoint",
    "snowflake_destination_update": "Snowflake",
    "iceberg_destination_update": "Iceberg",
}


async def update_destination(context: Context, request: Any, scope: Scope) -> Any:
    stream = context.active(scope, request.delivery_stream_name)
    _check_addressed(stream, request)
    update = _update(request)

    def decide(_catalog: Catalog, now_ms: int) -> tuple[None, list[Event]]:
        now = context.active(scope, stream.name)
        _check_addressed(now, request)
        event = _decided(context, scope, now, update, now_ms)
        if event is None:
            return None, []
        begins = keeps_originals(event.destination) and BACKUP not in now.lanes
        return None, [event, BackedUp(now.number)] if begins else [event]

    if _decided(context, scope, stream, update, 0) is not None:
        await context.restarted(stream, lambda: context.book.execute(decide))
    return {}


def merged(current: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """An extended S3 configuration after an update in the members of ExtendedS3DestinationUpdate. Raises
    `InvalidArgument` for what cannot be changed any more."""
    after = {**copy.deepcopy(dict(current)), **update}
    if current["S3BackupMode"] == "Enabled" and after["S3BackupMode"] != "Enabled":
        raise InvalidArgument("Disabling S3 backup is not currently supported.")
    backup = after.pop("S3BackupUpdate", None)
    if backup is not None:
        after["S3BackupConfiguration"] = {**current.get("S3BackupConfiguration", {}), **backup}
    processing = update.get("ProcessingConfiguration")
    if processing is not None:
        before = current["ProcessingConfiguration"]["Enabled"]
        after["ProcessingConfiguration"] = {"Enabled": before, **processing}
    conversion = update.get("DataFormatConversionConfiguration")
    if conversion is not None:
        before = current.get("DataFormatConversionConfiguration", {})
        after["DataFormatConversionConfiguration"] = {**before, "Enabled": True, **conversion}
    partitioning = update.get("DynamicPartitioningConfiguration")
    if partitioning is not None:
        after["DynamicPartitioningConfiguration"] = _partitioning(
            current.get("DynamicPartitioningConfiguration", {"Enabled": False}), partitioning
        )
    return after


def _partitioning(current: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    after = {**current, **update}
    if bool(after["Enabled"]) != bool(current["Enabled"]):
        raise InvalidArgument(
            "Dynamic Partitioning can only be enabled when the Firehose is created, and cannot be disabled afterwards."
        )
    return after


def _check_addressed(stream: DeliveryStream, request: Any) -> None:
    given = request.current_delivery_stream_version_id
    if given != stream.version:
        raise ConcurrentModification(
            f"Cannot update firehose: {stream.name} since the current version id: {stream.version} "
            f"and specified version id: {given} do not match"
        )
    if request.destination_id != DESTINATION_ID:
        raise InvalidArgument(f"Destination Id {request.destination_id} not found")


def _update(request: Any) -> dict[str, Any]:
    given = {label: update for member, label in _UPDATES.items() if (update := getattr(request, member)) is not None}
    if not given:
        raise InvalidArgument("At least one destination or source configuration update must be provided")
    if len(given) > 1:
        raise InvalidArgument("Exactly one destination configuration is supported for a Firehose")
    ((label, update),) = given.items()
    if label not in ("S3", EXTENDED_S3):
        raise InvalidArgument(f"Destination {label} is not supported by this server yet.")
    members: dict[str, Any] = plain(update)
    return members


def _decided(
    context: Context, scope: Scope, stream: DeliveryStream, update: Mapping[str, Any], now_ms: int
) -> Updated | None:
    """None where the update changes nothing."""
    current = stream.created.destination
    after = complete(merged(current, update), context.settings.firehose_compat)
    if after == current:
        return None
    columns = check_resources(context, scope, after)
    resplit = Destination.of(current).splitting != Destination.of(after).splitting
    return Updated(stream.number, now_ms, EXTENDED_S3, after, columns, resplit)
