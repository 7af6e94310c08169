"""DescribeDeliveryStream, ListDeliveryStreams: what is told about a delivery stream."""

from __future__ import annotations

from typing import Any

from firehose.context import DESTINATION_ID, Context
from firehose.events import DIRECT_PUT, HTTP_ENDPOINT, KINESIS, MSK
from firehose.http import describe_http
from firehose.stream import DeliveryStream
from streams.core.scope import Scope

LIST_LIMIT = 10
"""Names of one page where the request does not say: AWS's default."""

_S3_MEMBERS = (
    "RoleARN",
    "BucketARN",
    "Prefix",
    "ErrorOutputPrefix",
    "BufferingHints",
    "CompressionFormat",
    "EncryptionConfiguration",
    "CloudWatchLoggingOptions",
)


async def describe_delivery_stream(context: Context, request: Any, scope: Scope) -> Any:
    stream = context.stream(scope, request.delivery_stream_name)
    after = request.exclusive_start_destination_id or ""
    return {"DeliveryStreamDescription": _description(context, stream, after)}


async def list_delivery_streams(context: Context, request: Any, scope: Scope) -> Any:
    names = [
        name
        for name in context.book.catalog.names(scope)
        if name > (request.exclusive_start_delivery_stream_name or "")
        and request.delivery_stream_type in (None, context.stream(scope, name).created.type)
    ]
    limit = request.limit or LIST_LIMIT
    return {"DeliveryStreamNames": names[:limit], "HasMoreDeliveryStreams": len(names) > limit}


def _description(context: Context, stream: DeliveryStream, after: str) -> dict[str, Any]:
    created = stream.created
    description: dict[str, Any] = {
        "DeliveryStreamName": stream.name,
        "DeliveryStreamARN": stream.arn,
        "DeliveryStreamStatus": context.status(stream),
        "DeliveryStreamType": created.type,
        "VersionId": stream.version,
        "CreateTimestamp": created.at_ms / 1000,
        "Destinations": [_destination(stream)] if after < DESTINATION_ID else [],
        "HasMoreDestinations": False,
    }
    trouble = context.trouble(stream)
    if trouble is not None:
        description["FailureDescription"] = {"Type": "UNKNOWN_ERROR", "Details": trouble}
    if stream.updated_ms is not None:
        description["LastUpdateTimestamp"] = stream.updated_ms / 1000
    if created.type == KINESIS:
        description["Source"] = {
            "KinesisStreamSourceDescription": {
                "KinesisStreamARN": stream.source.arn,
                "RoleARN": stream.source.role_arn,
                "DeliveryStartTimestamp": created.at_ms / 1000,
            }
        }
    elif created.type == MSK:
        description["Source"] = {"MSKSourceDescription": _topic(stream)}
    elif created.throughput_hint_mbs is not None:
        description["Source"] = {"DirectPutSourceDescription": {"ThroughputHintInMBs": created.throughput_hint_mbs}}
    if created.type == DIRECT_PUT and (created.encryption is not None or context.settings.firehose_compat == "aws"):
        description["DeliveryStreamEncryptionConfiguration"] = _encryption(context, stream)
    return description


def _topic(stream: DeliveryStream) -> dict[str, Any]:
    source = stream.source
    described = {
        "MSKClusterARN": source.arn,
        "TopicName": source.stream,
        "AuthenticationConfiguration": {"RoleARN": source.role_arn, "Connectivity": source.connectivity},
        "DeliveryStartTimestamp": stream.created.at_ms / 1000,
    }
    if source.from_ms is not None:
        described["ReadFromTimestamp"] = source.from_ms / 1000
    return described


def _destination(stream: DeliveryStream) -> dict[str, Any]:
    configuration = stream.created.destination
    if stream.created.kind == HTTP_ENDPOINT:
        return {
            "DestinationId": DESTINATION_ID,
            "HttpEndpointDestinationDescription": describe_http(configuration),
        }
    extended = {_DESCRIBED.get(member, member): value for member, value in configuration.items()}
    return {
        "DestinationId": DESTINATION_ID,
        "S3DestinationDescription": _s3(configuration),
        "ExtendedS3DestinationDescription": extended,
    }


_DESCRIBED = {"S3BackupConfiguration": "S3BackupDescription"}
"""Members that a description calls by another name than a request does."""


def _s3(configuration: dict[str, Any]) -> dict[str, Any]:
    return {member: configuration[member] for member in _S3_MEMBERS if member in configuration}


def _encryption(context: Context, stream: DeliveryStream) -> dict[str, Any]:
    answer: dict[str, Any] = {"Status": context.encryption_status(stream)}
    encryption = stream.created.encryption
    if encryption is not None and encryption.key_type is not None:
        answer["KeyType"] = encryption.key_type
        if encryption.key_arn is not None:
            answer["KeyARN"] = encryption.key_arn
    return answer
