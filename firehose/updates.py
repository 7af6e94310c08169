"""UpdateDestination: what an update leaves of a configuration, and the next version of it.

An update of the same type merges: members that it does not name keep their values. One of another type merges nothing and
needs all that a create needs. Only a real change makes a new version; what is buffered is delivered under it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from firehose.catalog import Catalog
from firehose.configuration import Destination, complete, keeps_originals
from firehose.context import DESTINATION_ID, Context
from firehose.events import EXTENDED_S3, HTTP_ENDPOINT, BackedUp, Event, Updated
from firehose.http import merge_http
from firehose.resources import check_resources
from firehose.stream import DeliveryStream
from streams.core.errors import ConcurrentModification, InvalidArgument
from streams.core.plain import plain
from streams.core.scope import Scope

_UPDATES = {
    "s3_destination_update": EXTENDED_S3,
    "extended_s3_destination_update": EXTENDED_S3,
    "http_endpoint_destination_update": HTTP_ENDPOINT,
}
_UNBUILT_UPDATES = {
    "redshift_destination_update": "Redshift",
    "elasticsearch_destination_update": "Elasticsearch",
    "amazonopensearchservice_destination_update": "AmazonOpenSearchService",
    "amazon_open_search_serverless_destination_update": "AmazonOpenSearchServerless",
    "splunk_destination_update": "Splunk",
    "snowflake_destination_update": "Snowflake",
    "iceberg_destination_update": "Iceberg",
}
_REQUIRED = {
    EXTENDED_S3: ("RoleARN", "BucketARN"),
    HTTP_ENDPOINT: ("EndpointConfiguration", "S3Configuration"),
}
"""What a destination cannot do without, so an update to its type neither."""

_RENAMED = {"S3BackupUpdate": "S3BackupConfiguration", "S3Update": "S3Configuration"}
"""Members that an update calls by another name than a create."""


async def update_destination(context: Context, request: Any, scope: Scope) -> Any:
    stream = context.active(scope, request.delivery_stream_name)
    _check_addressed(stream, request)
    kind, update = _update(request)

    def decide(_catalog: Catalog, now_ms: int) -> tuple[None, list[Event]]:
        now = context.active(scope, stream.name)
        _check_addressed(now, request)
        event = _decided(context, scope, now, kind, update, now_ms)
        if event is None:
            return None, []
        begins = keeps_originals(event.destination) and not keeps_originals(now.created.destination)
        return None, [event, BackedUp(now.number)] if begins else [event]

    if _decided(context, scope, stream, kind, update, 0) is not None:
        await context.restarted(stream, lambda: context.book.execute(decide))
    return {}


ONLY_AT_CREATION = (
    "Dynamic Partitioning can only be enabled when the Firehose is created, and cannot be disabled afterwards."
)


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
        raise InvalidArgument(ONLY_AT_CREATION)
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


def _update(request: Any) -> tuple[str, dict[str, Any]]:
    """The type of destination that is updated to, and the members of the update."""
    others = [label for member, label in _UNBUILT_UPDATES.items() if getattr(request, member) is not None]
    given = [(kind, one) for member, kind in _UPDATES.items() if (one := getattr(request, member)) is not None]
    if not given and not others:
        raise InvalidArgument("At least one destination or source configuration update must be provided")
    if len(given) + len(others) > 1:
        raise InvalidArgument("Exactly one destination configuration is supported for a Firehose")
    if others:
        raise InvalidArgument(f"Destination {others[0]} is not supported by this server yet.")
    ((kind, one),) = given
    return kind, plain(one)


def _decided(
    context: Context, scope: Scope, stream: DeliveryStream, kind: str, update: Mapping[str, Any], now_ms: int
) -> Updated | None:
    """None where the update changes nothing."""
    before, current = stream.created.kind, stream.created.destination
    if kind != before:
        after = _anew(kind, update)
    else:
        after = merge_http(current, update) if kind == HTTP_ENDPOINT else merged(current, update)
    after = complete(kind, after, context.settings.firehose_compat)
    if kind == before and after == current:
        return None
    columns, version = check_resources(context, scope, kind, after, stream.created.tags)
    resplit = Destination.of(before, current).splitting != Destination.of(kind, after).splitting
    return Updated(stream.number, now_ms, kind, after, columns, resplit, version)


def _anew(kind: str, update: Mapping[str, Any]) -> dict[str, Any]:
    """A destination of another type than before: nothing is merged. Raises `InvalidArgument`."""
    after = {_RENAMED.get(member, member): value for member, value in update.items()}
    buckets = [after, *(after[member] for member in _RENAMED.values() if member in after)]
    required = [(after, member) for member in _REQUIRED[kind]]
    required += [(bucket, member) for bucket in buckets[1:] for member in _REQUIRED[EXTENDED_S3]]
    for given, member in required:
        if member not in given:
            raise InvalidArgument(f"{member} is required when the type of the destination changes.")
    if after.get("DynamicPartitioningConfiguration", {}).get("Enabled", False):
        raise InvalidArgument(ONLY_AT_CREATION)
    return after
