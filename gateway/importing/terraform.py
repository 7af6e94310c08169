"""Terraform: a plan as JSON (``terraform show -json``), or configuration in HCL.

Both become values of resources, blocks being lists of objects, as a plan has them; from there on they are one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.importing.cloudformation import rehomed_definition
from gateway.importing.definition import Definition, Understood, rehomed, understanding
from streams.core.scope import Scope

APPLICATION = "aws_kinesis_analytics_application"
APPLICATION_2 = "aws_kinesisanalyticsv2_application"
STREAM = "aws_kinesis_stream"

ARNS = {
    STREAM: "arn:aws:kinesis:{region}:{account}:stream/{name}",
    "aws_kinesis_firehose_delivery_stream": "arn:aws:firehose:{region}:{account}:deliverystream/{name}",
    "aws_lambda_function": "arn:aws:lambda:{region}:{account}:function:{name}",
    "aws_s3_bucket": "arn:aws:s3:::{name}",
    "aws_iam_role": "arn:aws:iam::{account}:role/{name}",
}
NAMES = {"aws_lambda_function": "function_name", "aws_s3_bucket": "bucket"}
"""Where it is not ``name``."""

_DESTINATION = {
    "Prefix": "prefix",
    "ErrorOutputPrefix": "error_output_prefix",
    "CompressionFormat": "compression_format",
}

Resources = Mapping[tuple[str, str], Mapping[str, Any]]
"""(type, name in the configuration) → values."""


def understand_plan(plan: Mapping[str, Any], scope: Scope) -> Understood:
    """A plan names what another resource will have only by reference: that is looked up beside it."""
    planned = plan.get("planned_values") or plan.get("values") or {}
    resources: dict[tuple[str, str], dict[str, Any]] = {}
    for resource in _planned(planned.get("root_module", {})):
        resources[resource["type"], resource["name"]] = dict(resource.get("values", {}))
    for resource in _configured(plan.get("configuration", {}).get("root_module", {})):
        values = resources.get((resource["type"], resource["name"]))
        if values is not None:
            _fill(values, resource.get("expressions", {}), resources, scope)
    return understand(resources, scope)


def understand(resources: Resources, scope: Scope) -> Understood:
    understood = Understood()
    for (kind, identity), values in resources.items():
        with understanding(f"{kind}.{identity}"):
            match kind:
                case "aws_kinesis_analytics_application":
                    understood.applications.append(_first(identity, values, scope))
                case "aws_kinesisanalyticsv2_application":
                    made = _second(identity, values, scope)
                    if made is None:
                        runtime = values.get("runtime_environment")
                        understood.notes.append(f"{kind}.{identity} is left out: its runtime is {runtime}, not SQL-1_0")
                    else:
                        understood.applications.append(made)
                case "aws_kinesis_stream":
                    understood.streams[str(values.get("name", identity))] = int(values.get("shard_count") or 1)
                case "aws_kinesis_firehose_delivery_stream":
                    made_of = _delivery_stream(values, scope)
                    if made_of is None:
                        understood.notes.append(f"{kind}.{identity} is left out: it does not deliver to S3")
                    else:
                        understood.delivery_streams[str(values.get("name", identity))] = rehomed(made_of, scope)
                case _:
                    understood.notes.append(f"{kind}.{identity} is left out")
    return understood


def arn_of(kind: str, identity: str, values: Mapping[str, Any], scope: Scope) -> str | None:
    """The ARN that a resource has here."""
    if kind not in ARNS:
        return None
    name = values.get(NAMES.get(kind, "name")) or identity
    return ARNS[kind].format(region=scope.region, account=scope.account, name=name)


def _planned(module: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for resource in module.get("resources", []):
        if resource.get("mode", "managed") == "managed":
            yield resource
    for child in module.get("child_modules", []):
        yield from _planned(child)


def _configured(module: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from module.get("resources", [])
    for call in module.get("module_calls", {}).values():
        yield from _configured(call.get("module", {}))


def _fill(values: dict[str, Any], expressions: Mapping[str, Any], resources: Resources, scope: Scope) -> None:
    """Sets what is known only after the plan is applied, where it is an ARN or a name of a resource in it."""
    for member, expression in expressions.items():
        if isinstance(expression, list):
            for inner, below in zip(values.get(member) or [], expression, strict=False):
                _fill(inner, below, resources, scope)
        elif isinstance(expression, dict) and values.get(member) is None:
            for reference in expression.get("references", []):
                kind, _, rest = reference.partition(".")
                identity, _, attribute = rest.partition(".")
                identity = identity.partition("[")[0]
                found = resources.get((kind, identity))
                if found is None or attribute not in ("arn", "name", "id", "bucket"):
                    continue
                values[member] = arn_of(kind, identity, found, scope) if attribute == "arn" else found.get("name")
                break


def _first(identity: str, values: Mapping[str, Any], scope: Scope) -> Definition:
    inputs, outputs, references = _blocks(values, "inputs"), _blocks(values, "outputs"), []
    position = None
    for given in inputs:
        for start in _blocks(given, "starting_position_configuration"):
            position = start.get("starting_position") or "NOW"
    for given in _blocks(values, "reference_data_sources"):
        where = _block(given, "s3")
        references.append(_reference(given, where, _schema(_block(given, "schema"), "record_columns"), scope))
    definition = Definition(
        str(values.get("name") or identity),
        str(values.get("code") or ""),
        values.get("description") or None,
        [
            _input(
                given,
                scope,
                streams=_block(given, "kinesis_stream"),
                firehose=_block(given, "kinesis_firehose"),
                function=_block(_block(given, "processing_configuration"), "lambda"),
                count=_block(given, "parallelism").get("count"),
                schema=_schema(_block(given, "schema"), "record_columns"),
            )
            for given in inputs
        ],
        [
            _output(
                given,
                scope,
                {
                    "KinesisStreamsOutput": _block(given, "kinesis_stream"),
                    "KinesisFirehoseOutput": _block(given, "kinesis_firehose"),
                    "LambdaOutput": _block(given, "lambda"),
                },
                _block(given, "schema"),
            )
            for given in outputs
        ],
        references,
        (position or "NOW") if values.get("start_application") else None,
    )
    return rehomed_definition(definition, scope)


def _second(identity: str, values: Mapping[str, Any], scope: Scope) -> Definition | None:
    if values.get("runtime_environment") != "SQL-1_0":
        return None
    configuration = _block(values, "application_configuration")
    content = _block(_block(configuration, "application_code_configuration"), "code_content")
    sql = _block(configuration, "sql_application_configuration")
    position = None
    for given in _blocks(sql, "input"):
        for start in _blocks(given, "input_starting_position_configuration"):
            position = start.get("input_starting_position") or "NOW"
    definition = Definition(
        str(values.get("name") or identity),
        str(content.get("text_content") or ""),
        values.get("description") or None,
        [
            _input(
                given,
                scope,
                streams=_block(given, "kinesis_streams_input"),
                firehose=_block(given, "kinesis_firehose_input"),
                function=_block(_block(given, "input_processing_configuration"), "input_lambda_processor"),
                count=_block(given, "input_parallelism").get("count"),
                schema=_schema(_block(given, "input_schema"), "record_column"),
            )
            for given in _blocks(sql, "input")
        ],
        [
            _output(
                given,
                scope,
                {
                    "KinesisStreamsOutput": _block(given, "kinesis_streams_output"),
                    "KinesisFirehoseOutput": _block(given, "kinesis_firehose_output"),
                    "LambdaOutput": _block(given, "lambda_output"),
                },
                _block(given, "destination_schema"),
            )
            for given in _blocks(sql, "output")
        ],
        [
            _reference(
                given,
                _block(given, "s3_reference_data_source"),
                _schema(_block(given, "reference_schema"), "record_column"),
                scope,
            )
            for given in _blocks(sql, "reference_data_source")
        ],
        (position or "NOW") if values.get("start_application") else None,
    )
    return rehomed_definition(definition, scope)


def _input(
    given: Mapping[str, Any],
    scope: Scope,
    *,
    streams: Mapping[str, Any],
    firehose: Mapping[str, Any],
    function: Mapping[str, Any],
    count: Any,
    schema: dict[str, Any],
) -> dict[str, Any]:
    made: dict[str, Any] = {"NamePrefix": given.get("name_prefix"), "InputSchema": schema}
    if streams:
        made["KinesisStreamsInput"] = _resource(streams, scope)
    if firehose:
        made["KinesisFirehoseInput"] = _resource(firehose, scope)
    if function:
        made["InputProcessingConfiguration"] = {"InputLambdaProcessor": _resource(function, scope)}
    if count:
        made["InputParallelism"] = {"Count": int(count)}
    return made


def _output(
    given: Mapping[str, Any], scope: Scope, targets: Mapping[str, Mapping[str, Any]], schema: Mapping[str, Any]
) -> dict[str, Any]:
    made = {member: _resource(block, scope) for member, block in targets.items() if block}
    kind = schema.get("record_format_type") or "JSON"
    return {"Name": given.get("name"), "DestinationSchema": {"RecordFormatType": kind}, **made}


def _delivery_stream(values: Mapping[str, Any], scope: Scope) -> dict[str, Any] | None:
    """Members of CreateDeliveryStream; None for another destination than S3."""
    to = _block(values, "extended_s3_configuration")
    if not to:
        return None
    role = f"arn:aws:iam::{scope.account}:role/headrace"
    destination = {"BucketARN": to.get("bucket_arn"), "RoleARN": role}
    for member, name in _DESTINATION.items():
        if to.get(name):
            destination[member] = to[name]
    hints = {"SizeInMBs": to.get("buffering_size"), "IntervalInSeconds": to.get("buffering_interval")}
    given = {member: int(value) for member, value in hints.items() if value is not None}
    if given:
        destination["BufferingHints"] = given
    members: dict[str, Any] = {"ExtendedS3DestinationConfiguration": destination}
    source = _block(values, "kinesis_source_configuration")
    if source:
        members["DeliveryStreamType"] = "KinesisStreamAsSource"
        arn = source.get("kinesis_stream_arn")
        members["KinesisStreamSourceConfiguration"] = {"KinesisStreamARN": arn, "RoleARN": role}
    topic = _block(values, "msk_source_configuration")
    if topic:
        connectivity = _block(topic, "authentication_configuration").get("connectivity") or "PRIVATE"
        members["DeliveryStreamType"] = "MSKAsSource"
        members["MSKSourceConfiguration"] = {
            "MSKClusterARN": topic.get("msk_cluster_arn"),
            "TopicName": topic.get("topic_name"),
            "AuthenticationConfiguration": {"RoleARN": role, "Connectivity": connectivity},
            **({"ReadFromTimestamp": topic["read_from_timestamp"]} if topic.get("read_from_timestamp") else {}),
        }
    return members


def _reference(
    given: Mapping[str, Any], where: Mapping[str, Any], schema: dict[str, Any], scope: Scope
) -> dict[str, Any]:
    source = {
        "BucketARN": where.get("bucket_arn"),
        "FileKey": where.get("file_key"),
        "ReferenceRoleARN": f"arn:aws:iam::{scope.account}:role/headrace",
    }
    return {"TableName": given.get("table_name"), "S3ReferenceDataSource": source, "ReferenceSchema": schema}


def _resource(block: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    return {"ResourceARN": block.get("resource_arn"), "RoleARN": f"arn:aws:iam::{scope.account}:role/headrace"}


def _schema(block: Mapping[str, Any], member: str) -> dict[str, Any]:
    """`member` is how the provider calls the columns."""
    record = _block(block, "record_format")
    parameters = _block(record, "mapping_parameters")
    csv = _block(parameters, "csv") or _block(parameters, "csv_mapping_parameters")
    json = _block(parameters, "json") or _block(parameters, "json_mapping_parameters")
    kind = record.get("record_format_type") or ("CSV" if csv else "JSON")
    mapping: dict[str, Any] = {"JSONMappingParameters": {"RecordRowPath": json.get("record_row_path") or "$"}}
    if kind == "CSV":
        delimiters = {
            "RecordRowDelimiter": csv.get("record_row_delimiter") or "\n",
            "RecordColumnDelimiter": csv.get("record_column_delimiter") or ",",
        }
        mapping = {"CSVMappingParameters": delimiters}
    columns = []
    for column in _blocks(block, member):
        columns.append({"Name": column.get("name"), "SqlType": column.get("sql_type")})
        if column.get("mapping"):
            columns[-1]["Mapping"] = column["mapping"]
    return {
        "RecordFormat": {"RecordFormatType": kind, "MappingParameters": mapping},
        "RecordEncoding": block.get("record_encoding") or "UTF-8",
        "RecordColumns": columns,
    }


def _blocks(values: Mapping[str, Any], member: str) -> list[Mapping[str, Any]]:
    found = values.get(member) or []
    return found if isinstance(found, list) else [found]


def _block(values: Mapping[str, Any], member: str) -> Mapping[str, Any]:
    found = _blocks(values, member)
    return found[0] if found else {}
