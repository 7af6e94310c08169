"""What the process of an application is told, from what the API was told."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from analytics.api.catalog import Application
from analytics.api.configuration import in_application_names, name_of
from analytics.worker.messages import ColumnSpec, InputSpec, OutputSpec, ReferenceSpec, Run, SchemaSpec
from connectors.kafka_clusters import TopicAt, cluster_of, is_topic, topic_of
from streams.core.errors import InvalidArgument
from streams.core.scope import Scope
from streams.core.settings import Settings

HISTORY = "headrace:history"
"""The tag of an application that reads on, before its streams' oldest records, in what delivery streams have delivered."""

DeliverySource = Callable[[Scope, str], tuple[str, bool] | None]


def schema_of(schema: Mapping[str, Any]) -> SchemaSpec:
    """AWS's SourceSchema."""
    record = schema["RecordFormat"]
    parameters = record.get("MappingParameters", {})
    columns = tuple(
        ColumnSpec(column["Name"], column["SqlType"], column.get("Mapping")) for column in schema["RecordColumns"]
    )
    if record["RecordFormatType"] == "CSV":
        csv = parameters.get("CSVMappingParameters", {})
        return SchemaSpec(
            columns,
            csv=True,
            row_delimiter=csv.get("RecordRowDelimiter", "\n"),
            column_delimiter=csv.get("RecordColumnDelimiter", ","),
        )
    return SchemaSpec(columns, row_path=parameters.get("JSONMappingParameters", {}).get("RecordRowPath", "$"))


def described(schema: SchemaSpec) -> dict[str, Any]:
    """The same as AWS's SourceSchema."""
    if schema.csv:
        kind = {
            "RecordFormatType": "CSV",
            "MappingParameters": {
                "CSVMappingParameters": {
                    "RecordRowDelimiter": schema.row_delimiter,
                    "RecordColumnDelimiter": schema.column_delimiter,
                }
            },
        }
    else:
        kind = {
            "RecordFormatType": "JSON",
            "MappingParameters": {"JSONMappingParameters": {"RecordRowPath": schema.row_path}},
        }
    columns = []
    for column in schema.columns:
        columns.append({"Name": column.name, "SqlType": column.type})
        if column.path is not None:
            columns[-1]["Mapping"] = column.path
    return {"RecordFormat": kind, "RecordEncoding": "UTF-8", "RecordColumns": columns}


def topic_in(given: Mapping[str, Any], settings: Settings) -> TopicAt | None:
    """The Kafka topic that an input or an output names in the place of a stream. Raises `InvalidArgument`."""
    for member in ("KinesisStreamsInput", "KinesisStreamsOutput"):
        if member in given:
            return topic_of(settings.kafka_clusters, given[member]["ResourceARN"])
    return None


def source_of(given: Mapping[str, Any], scope: Scope, delivery_source: DeliverySource) -> tuple[str, str, bool]:
    """The ARN of an input, the stream (or the topic) that its records are in, and whether they are a delivery stream's own.
    Raises `InvalidArgument`."""
    if "KinesisStreamsInput" in given:
        arn = given["KinesisStreamsInput"]["ResourceARN"]
        if is_topic(arn):
            return arn, name_of(arn), False
        if arn != scope.stream_arn(name_of(arn)):
            raise InvalidArgument(f"Kinesis stream {arn} is not one of account {scope.account} in {scope.region}.")
        return arn, name_of(arn), False
    arn = given["KinesisFirehoseInput"]["ResourceARN"]
    found = delivery_source(scope, name_of(arn)) if arn == scope.delivery_stream_arn(name_of(arn)) else None
    if found is None:
        raise InvalidArgument(f"Delivery stream {arn} was not found in account {scope.account} in {scope.region}.")
    return arn, found[0], True


def history_of(application: Application, stream: str, delivery_source: DeliverySource) -> str | None:
    """The delivery stream whose objects hold what the stream no longer does, of those that the tag `HISTORY` names. Raises
    `InvalidArgument`."""
    names = application.tags.get(HISTORY, "").split()
    known = []
    for name in names:
        found = delivery_source(application.scope, name)
        if found is None:
            raise InvalidArgument(f"Tag {HISTORY} of {application.arn}: there is no delivery stream {name}.")
        if found[0] == stream:
            return name
        known.append(f"{name} delivers {found[0]}")
    if known:
        raise InvalidArgument(f"Tag {HISTORY} of {application.arn}: {', '.join(known)}, and its input is {stream}.")
    return None


def target_of(given: Mapping[str, Any], scope: Scope, delivery_source: DeliverySource) -> str | None:
    """The stream (or the topic) that an output's rows go to; None for a function. Raises `InvalidArgument`."""
    if "LambdaOutput" in given:
        return None
    if "KinesisStreamsOutput" in given:
        arn = given["KinesisStreamsOutput"]["ResourceARN"]
        if is_topic(arn):
            return name_of(arn)
        if arn != scope.stream_arn(name_of(arn)):
            raise InvalidArgument(f"Kinesis stream {arn} is not one of account {scope.account} in {scope.region}.")
        return name_of(arn)
    arn = given["KinesisFirehoseOutput"]["ResourceARN"]
    found = delivery_source(scope, name_of(arn)) if arn == scope.delivery_stream_arn(name_of(arn)) else None
    if found is None:
        raise InvalidArgument(f"Delivery stream {arn} was not found in account {scope.account} in {scope.region}.")
    stream, direct = found
    if not direct:
        raise InvalidArgument(f"Delivery stream {arn} has a Kinesis stream as its source and takes no other records.")
    return stream


def reference_url(given: Mapping[str, Any], settings: Settings) -> str:
    """Where the file of reference data is: in the bucket's folder, or below the URL that the settings have for it."""
    bucket = given["BucketARN"].rpartition(":")[2]
    key = given["FileKey"]
    base = settings.buckets.get(bucket)
    if base is not None and "://" in base:
        return f"{base.rstrip('/')}/{key}"
    folder = base if base is not None else str(settings.data_path / "buckets" / bucket)
    path = os.path.normpath(os.path.join(folder, key))
    if not path.startswith(os.path.normpath(folder) + os.sep):
        raise InvalidArgument(f"FileKey {key} leads out of bucket {bucket}.")
    return path


def state_folder(application: Application, settings: Settings) -> str:
    return str(settings.data_path / "applications" / str(application.number))


def state_path(application: Application, settings: Settings) -> str:
    return os.path.join(state_folder(application, settings), "state.duckdb")


def _brokers(given: Mapping[str, Any], settings: Settings) -> str | None:
    """Where the topic is that stands in the place of a stream."""
    topic = topic_in(given, settings)
    return None if topic is None else settings.kafka_clusters[cluster_of(topic.arn)]


def specify(
    application: Application, settings: Settings, door: str, delivery_source: DeliverySource, *, kept: bool = False
) -> Run:
    """`kept`: its state is kept for other processes too. Raises `InvalidArgument` for what the application refers to and is not there."""
    configuration, scope = application.configuration, application.scope
    inputs = []
    for given in configuration.inputs:
        arn, stream, direct = source_of(given, scope, delivery_source)
        begin = application.begins.get(given["Id"])
        processing = given.get("InputProcessingConfiguration")
        inputs.append(
            InputSpec(
                tuple(in_application_names(given)),
                stream,
                schema_of(given["InputSchema"]),
                begin.at_ms if begin is not None and begin.position == "NOW" else None,
                arn,
                direct,
                None if processing is None else processing["InputLambdaProcessor"]["ResourceARN"],
                history_of(application, stream, delivery_source),
                _brokers(given, settings),
            )
        )
    outputs = []
    for given in configuration.outputs:
        target = target_of(given, scope, delivery_source)
        function = given["LambdaOutput"]["ResourceARN"] if target is None else None
        csv = given["DestinationSchema"].get("RecordFormatType") == "CSV"
        outputs.append(OutputSpec(given["Number"], given["Name"], csv, target, function, _brokers(given, settings)))
    references = [
        ReferenceSpec(
            given["TableName"],
            reference_url(given["S3ReferenceDataSource"], settings),
            schema_of(given["ReferenceSchema"]),
        )
        for given in configuration.references
    ]
    os.makedirs(state_folder(application, settings), exist_ok=True)
    return Run(
        arn=application.arn,
        account=scope.account,
        region=scope.region,
        code=configuration.code,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        references=tuple(references),
        path=state_path(application, settings),
        generation=application.generation,
        door=door,
        memory_max=settings.application_memory_max,
        scripts=settings.function_api,
        kept=kept,
    )
