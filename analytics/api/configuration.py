"""Inputs, outputs, reference data and logging options: AWS's structures, checked, changed and described.

They are kept as the first API's requests have them, with ``Id`` beside AWS's members. The second API's differ in that
roles may be left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.kafka_clusters import is_topic
from streams.core.errors import InvalidArgument

INPUTS_MAX = 1
OUTPUTS_MAX = 3
REFERENCES_MAX = 1
"""Of one application, as at AWS."""

_RENAMED = {
    "KinesisStreamsInput": "KinesisStreamsInputDescription",
    "KinesisFirehoseInput": "KinesisFirehoseInputDescription",
    "InputProcessingConfiguration": "InputProcessingConfigurationDescription",
    "InputLambdaProcessor": "InputLambdaProcessorDescription",
    "KinesisStreamsOutput": "KinesisStreamsOutputDescription",
    "KinesisFirehoseOutput": "KinesisFirehoseOutputDescription",
    "LambdaOutput": "LambdaOutputDescription",
    "S3ReferenceDataSource": "S3ReferenceDataSourceDescription",
}
_SOURCES = ("KinesisStreamsInput", "KinesisFirehoseInput")
_TARGETS = ("KinesisStreamsOutput", "KinesisFirehoseOutput", "LambdaOutput")


def check_input(given: Mapping[str, Any]) -> None:
    """Raises `InvalidArgument`."""
    if sum(source in given for source in _SOURCES) != 1:
        raise InvalidArgument(f"An input has exactly one of {' and '.join(_SOURCES)}.")
    source = "KinesisStreamsInput" if "KinesisStreamsInput" in given else "KinesisFirehoseInput"
    _check_source(given, source)
    check_schema(given["InputSchema"], "InputSchema")
    if "InputProcessingConfiguration" in given:
        function_of(given["InputProcessingConfiguration"]["InputLambdaProcessor"]["ResourceARN"])


def check_output(given: Mapping[str, Any]) -> None:
    """Raises `InvalidArgument`."""
    found = [target for target in _TARGETS if target in given]
    if len(found) != 1:
        raise InvalidArgument(f"An output has exactly one of {', '.join(_TARGETS[:-1])} and {_TARGETS[-1]}.")
    if found[0] == "LambdaOutput":
        function_of(given["LambdaOutput"]["ResourceARN"])
    else:
        _check_source(given, found[0])


def check_schema(schema: Mapping[str, Any], where: str) -> None:
    """Raises `InvalidArgument`: the format's own parameters, and a path for each column of JSON."""
    record = schema["RecordFormat"]
    kind, parameters = record["RecordFormatType"], record.get("MappingParameters", {})
    other = "JSONMappingParameters" if kind == "CSV" else "CSVMappingParameters"
    if other in parameters:
        raise InvalidArgument(f"{where}: the record format is {kind}, and its MappingParameters are {other}.")
    if schema.get("RecordEncoding", "UTF-8") != "UTF-8":
        raise InvalidArgument(f"{where}: RecordEncoding is {schema['RecordEncoding']}; records are read as UTF-8.")
    names = [column["Name"] for column in schema["RecordColumns"]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidArgument(f"{where}: column {twice[0]} is there twice.")
    for column in schema["RecordColumns"]:
        if kind == "JSON" and not column.get("Mapping"):
            raise InvalidArgument(f"{where}: column {column['Name']} has no Mapping, which JSON needs.")


_SERVICES = {
    "KinesisStreamsInput": ("kinesis", "stream/"),
    "KinesisFirehoseInput": ("firehose", "deliverystream/"),
    "KinesisStreamsOutput": ("kinesis", "stream/"),
    "KinesisFirehoseOutput": ("firehose", "deliverystream/"),
}


def _check_source(given: Mapping[str, Any], member: str) -> None:
    """Where a stream is named, a Kafka topic may be."""
    arn = given[member]["ResourceARN"]
    if not (member.startswith("KinesisStreams") and is_topic(arn)):
        _check_arn(arn, *_SERVICES[member])


def _check_arn(arn: str, service: str, kind: str) -> None:
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[2] != service or not parts[5].startswith(kind):
        raise InvalidArgument(f"{arn} is not the ARN of a {service} {kind.rstrip('/')}.")


def name_of(arn: str) -> str:
    """The name at the end of an ARN of a stream or a delivery stream."""
    return arn.rpartition("/")[2]


def function_of(arn: str) -> str:
    """The name of the function of an ARN, with or without a qualifier. Raises `InvalidArgument`."""
    _, found, rest = arn.partition(":function:")
    if not found:
        raise InvalidArgument(f"{arn} is not the ARN of a function.")
    return rest.partition(":")[0]


def in_application_names(given: Mapping[str, Any]) -> list[str]:
    """``PREFIX_001`` and on, one for each of the input's parallelism."""
    count = given.get("InputParallelism", {}).get("Count", 1)
    return [f"{given['NamePrefix']}_{number:03d}" for number in range(1, count + 1)]


def describe_input(given: Mapping[str, Any], position: str | None) -> dict[str, Any]:
    answer = _described(given, "InputId")
    answer["InAppStreamNames"] = in_application_names(given)
    answer.setdefault("InputParallelism", {"Count": 1})
    if position is not None:
        answer["InputStartingPositionConfiguration"] = {"InputStartingPosition": position}
    return answer


def describe_output(given: Mapping[str, Any]) -> dict[str, Any]:
    answer = _described(given, "OutputId")
    answer.pop("Number")
    return answer


def describe_reference(given: Mapping[str, Any]) -> dict[str, Any]:
    return _described(given, "ReferenceId")


def describe_logging(given: Mapping[str, Any]) -> dict[str, Any]:
    return _described(given, "CloudWatchLoggingOptionId")


def _described(given: Mapping[str, Any], identity: str) -> dict[str, Any]:
    answer = {_RENAMED.get(member, member): value for member, value in given.items() if member != "Id"}
    processing = answer.get("InputProcessingConfigurationDescription")
    if processing is not None:
        answer["InputProcessingConfigurationDescription"] = {
            "InputLambdaProcessorDescription": processing["InputLambdaProcessor"]
        }
    return {identity: given["Id"], **answer}


def updated_input(given: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """An input as an InputUpdate leaves it."""
    made = dict(given)
    if "NamePrefixUpdate" in update:
        made["NamePrefix"] = update["NamePrefixUpdate"]
    if "InputParallelismUpdate" in update:
        count = update["InputParallelismUpdate"].get("CountUpdate")
        made["InputParallelism"] = {"Count": count or given.get("InputParallelism", {}).get("Count", 1)}
    for source in _SOURCES:
        if f"{source}Update" in update:
            made = _retargeted(made, _SOURCES, source, update[f"{source}Update"])
    if "InputProcessingConfigurationUpdate" in update:
        change = update["InputProcessingConfigurationUpdate"]["InputLambdaProcessorUpdate"]
        before = made.get("InputProcessingConfiguration", {}).get("InputLambdaProcessor", {})
        made["InputProcessingConfiguration"] = {"InputLambdaProcessor": _resource(before, change)}
    if "InputSchemaUpdate" in update:
        made["InputSchema"] = _updated_schema(given["InputSchema"], update["InputSchemaUpdate"])
    return made


def updated_output(given: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(given)
    if "NameUpdate" in update:
        made["Name"] = update["NameUpdate"]
    if "DestinationSchemaUpdate" in update:
        made["DestinationSchema"] = update["DestinationSchemaUpdate"]
    for target in _TARGETS:
        if f"{target}Update" in update:
            made = _retargeted(made, _TARGETS, target, update[f"{target}Update"])
    return made


def updated_reference(given: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(given)
    if "TableNameUpdate" in update:
        made["TableName"] = update["TableNameUpdate"]
    if "S3ReferenceDataSourceUpdate" in update:
        change = update["S3ReferenceDataSourceUpdate"]
        source = dict(made["S3ReferenceDataSource"])
        for member in ("BucketARN", "FileKey", "ReferenceRoleARN"):
            if f"{member}Update" in change:
                source[member] = change[f"{member}Update"]
        made["S3ReferenceDataSource"] = source
    if "ReferenceSchemaUpdate" in update:
        made["ReferenceSchema"] = update["ReferenceSchemaUpdate"]
    return made


def updated_logging(given: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(given)
    for member in ("LogStreamARN", "RoleARN"):
        if f"{member}Update" in update:
            made[member] = update[f"{member}Update"]
    return made


def _retargeted(
    given: dict[str, Any], among: tuple[str, ...], chosen: str, change: Mapping[str, Any]
) -> dict[str, Any]:
    """Of several places, which exclude each other, the chosen one."""
    before = given.get(chosen, {})
    return {member: value for member, value in given.items() if member not in among} | {
        chosen: _resource(before, change)
    }


def _resource(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(before)
    for member in ("ResourceARN", "RoleARN"):
        if f"{member}Update" in change:
            made[member] = change[f"{member}Update"]
    if "ResourceARN" not in made:
        raise InvalidArgument("The update names no ResourceARN.")
    return made


def _updated_schema(given: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(given)
    for member in ("RecordFormat", "RecordEncoding"):
        if f"{member}Update" in update:
            made[member] = update[f"{member}Update"]
    if "RecordColumnUpdates" in update:
        made["RecordColumns"] = update["RecordColumnUpdates"]
    return made
