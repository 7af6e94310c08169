"""CreateDeliveryStream, DeleteDeliveryStream."""

from __future__ import annotations

from typing import Any

from firehose.catalog import Catalog
from firehose.configuration import complete, keeps_originals
from firehose.context import Context
from firehose.encryption import key_of
from firehose.events import (
    DIRECT_PUT,
    EXTENDED_S3,
    HTTP_ENDPOINT,
    KINESIS,
    MSK,
    BackedUp,
    Created,
    Deleted,
    Deleting,
    Encryption,
    Event,
    SourceSpec,
)
from firehose.resources import check_resources
from firehose.stream import DeliveryStream
from firehose.tags import given_tags
from streams.core.errors import (
    InvalidArgument,
    LimitExceeded,
    LogUnreachable,
    ResourceInUse,
    ResourceNotFound,
    SettingsError,
)
from streams.core.plain import plain
from streams.core.scope import Scope, delivery_source
from streams.core.work import delivery_item, part_of
from streams.sdk.client import LATEST, TRIM_HORIZON, at_timestamp

DELIVERY_STREAMS_MAX = 5_000
"""Delivery streams of one account and region: AWS's quota."""

_DESTINATIONS = {
    "s3_destination_configuration": EXTENDED_S3,
    "extended_s3_destination_configuration": EXTENDED_S3,
    "http_endpoint_destination_configuration": HTTP_ENDPOINT,
}
_UNBUILT_DESTINATIONS = {
    "redshift_destination_configuration": "Redshift",
    "elasticsearch_destination_configuration": "Elasticsearch",
    "amazonopensearchservice_destination_configuration": "AmazonOpenSearchService",
    "amazon_open_search_serverless_destination_configuration": "AmazonOpenSearchServerless",
    "splunk_destination_configuration": "Splunk",
    "snowflake_destination_configuration": "Snowflake",
    "iceberg_destination_configuration": "Iceberg",
}


async def create_delivery_stream(context: Context, request: Any, scope: Scope) -> Any:
    name, source_type = request.delivery_stream_name, request.delivery_stream_type or DIRECT_PUT
    kind, given = _destination(request)
    destination = complete(kind, given, context.settings.firehose_compat)
    _check_source(request, source_type)
    tags = given_tags(request.tags or ())
    columns, version = check_resources(context, scope, kind, destination, tags)
    if context.book.catalog.get(scope, name) is not None:
        raise _exists(scope, name)
    source, positions = await _source(context, request, scope, source_type)
    asked = request.delivery_stream_encryption_configuration_input
    key = None if asked is None else key_of(asked)
    hint = request.direct_put_source_configuration
    throughput = None if hint is None else hint.throughput_hint_in_mbs

    def decide(catalog: Catalog, now_ms: int) -> tuple[DeliveryStream | None, list[Event]]:
        if catalog.get(scope, name) is not None:
            raise _exists(scope, name)
        if len(catalog.names(scope)) >= DELIVERY_STREAMS_MAX:
            raise LimitExceeded(f"You have already consumed your firehose quota of {DELIVERY_STREAMS_MAX} hoses.")
        number = context.book.next_number(part_of(delivery_item(scope, name)), catalog.next_number)
        created = Created(
            number=number,
            account=scope.account,
            region=scope.region,
            name=name,
            at_ms=now_ms,
            type=source_type,
            kind=kind,
            source=source,
            positions=positions,
            destination=destination,
            columns=columns,
            tags=tags,
            throughput_hint_mbs=throughput,
            encryption=None if key is None else Encryption(True, now_ms, *key),
            table_version=version,
        )
        return None, [created, BackedUp(number)] if keeps_originals(destination) else [created]

    await context.book.execute(decide)
    context.started(context.stream(scope, name))
    return {"DeliveryStreamARN": scope.delivery_stream_arn(name)}


async def delete_delivery_stream(context: Context, request: Any, scope: Scope) -> Any:
    """What is buffered is not delivered any more. Deleting a stream that is being deleted succeeds."""
    stream = context.stream(scope, request.delivery_stream_name)
    if context.status(stream) == "CREATING":
        raise ResourceInUse(f"Firehose {stream.name} is not active in {scope.account} account.")
    if stream.deleting_ms is None:
        number = stream.number
        await context.book.execute(lambda _catalog, now_ms: (None, [Deleting(number, now_ms)]))
        await finish_deleting(context, stream)
    return {}


async def finish_deleting(context: Context, stream: DeliveryStream) -> None:
    """Also at the start, for a stream whose deletion a crash interrupted."""
    await context.stopped(stream)
    if stream.created.type == DIRECT_PUT:
        try:
            await context.client_for(stream.scope).delete_stream(stream.source.stream)
        except ResourceNotFound:
            pass  # an interrupted deletion came this far
    await context.book.commit(Deleted(stream.number))


def _exists(scope: Scope, name: str) -> ResourceInUse:
    return ResourceInUse(f"Firehose {name} under accountId {scope.account} already exists")


def _destination(request: Any) -> tuple[str, dict[str, Any]]:
    """The one destination: its type, and its configuration. A plain S3 one is an extended one without extensions."""
    others = [label for member, label in _UNBUILT_DESTINATIONS.items() if getattr(request, member) is not None]
    given = [(kind, one) for member, kind in _DESTINATIONS.items() if (one := getattr(request, member)) is not None]
    if len(given) + len(others) != 1:
        raise InvalidArgument("Exactly one destination configuration is supported for a Firehose")
    if others:
        raise InvalidArgument(f"Destination {others[0]} is not supported by this server yet.")
    ((kind, one),) = given
    return kind, plain(one)


def _check_source(request: Any, kind: str) -> None:
    if request.database_source_configuration is not None:
        raise InvalidArgument("Source Database is not supported by this server yet.")
    if kind not in (DIRECT_PUT, KINESIS, MSK):
        raise InvalidArgument(f"DeliveryStreamType {kind} is not supported by this server yet.")
    if kind != DIRECT_PUT and request.delivery_stream_encryption_configuration_input is not None:
        raise InvalidArgument(f"Server-side encryption is only applicable for {DIRECT_PUT} stream type.")
    if kind != KINESIS and request.kinesis_stream_source_configuration is not None:
        raise InvalidArgument("KinesisSourceStreamConfig is only applicable for KinesisStreamAsSource stream type.")
    if kind == KINESIS and request.kinesis_stream_source_configuration is None:
        raise InvalidArgument("KinesisStreamSourceConfiguration is needed for KinesisStreamAsSource stream type.")
    if kind != MSK and request.msk_source_configuration is not None:
        raise InvalidArgument("MSKSourceConfig is only applicable for MSKAsSource stream type.")
    if kind == MSK and request.msk_source_configuration is None:
        raise InvalidArgument("MSKSourceConfiguration is needed for MSKAsSource stream type.")
    if kind != DIRECT_PUT and request.direct_put_source_configuration is not None:
        raise InvalidArgument("DirectPutSourceConfig is only applicable for DirectPut stream type.")


async def _source(context: Context, request: Any, scope: Scope, kind: str) -> tuple[SourceSpec, dict[str, int]]:
    """The stream to read and its positions as of now: nothing put after this is missed, nothing before it delivered."""
    client = context.client_for(scope)
    if kind == DIRECT_PUT:
        stream = delivery_source(request.delivery_stream_name)
        try:
            await client.create_stream(stream)
        except ResourceInUse:
            pass  # a create that a crash interrupted came this far
        description = await client.describe_stream(stream)
        return SourceSpec(stream, description.id), await client.find(stream, LATEST)
    if kind == MSK:
        return await _topic(context, request.msk_source_configuration)
    configuration = request.kinesis_stream_source_configuration
    arn, role_arn = configuration.kinesis_stream_arn, configuration.role_arn
    stream = arn.rpartition(":stream/")[2]
    if scope.stream_arn(stream) != arn:
        raise InvalidArgument(f"Kinesis stream {arn} is not one of account {scope.account} in {scope.region}.")
    try:
        description = await client.describe_stream(stream)
        return SourceSpec(stream, description.id, arn, role_arn), await client.find(stream, LATEST)
    except ResourceNotFound as error:
        raise InvalidArgument(f"Kinesis stream {arn} was not found.") from error


async def _topic(context: Context, configuration: Any) -> tuple[SourceSpec, dict[str, int]]:
    """The same of a Kafka topic, from ReadFromTimestamp on where that is given."""
    arn, topic, given = configuration.msk_cluster_arn, configuration.topic_name, configuration.read_from_timestamp
    from_ms, start = None, LATEST
    if given is not None:
        from_ms = round(given * 1000)
        if from_ms > context.clock.now_ms():
            raise InvalidArgument("ReadFromTimestamp is in the future.")
        start = TRIM_HORIZON if from_ms <= 0 else at_timestamp(from_ms)
    client = context.topic(arn, topic)
    try:
        description = await client.describe_stream(topic)
        positions = await client.find(topic, start)
    except SettingsError as error:
        raise InvalidArgument(f"MSK cluster {arn}: {error.message}") from error
    except (ResourceNotFound, LogUnreachable) as error:
        raise InvalidArgument(f"Topic {topic} of MSK cluster {arn} cannot be read: {error.message}") from error
    finally:
        await client.close()
    authentication = configuration.authentication_configuration
    source = SourceSpec(topic, description.id, arn, authentication.role_arn, authentication.connectivity, from_ms)
    return source, positions
