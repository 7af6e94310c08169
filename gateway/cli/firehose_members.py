"""What the options of ``headrace firehose create`` mean as members of CreateDeliveryStream, and the table of a schema."""

from __future__ import annotations

from typing import Any

from gateway.cli import aws_call
from gateway.cli.connection import Target
from gateway.cli.failure import Failure
from streams.core.scope import Scope

DATABASE = "headrace"
"""Of the data catalog: where the tables are that this command makes."""


def members(
    scope: Scope,
    name: str,
    bucket: str,
    source: str | None,
    topic: str | None,
    cluster: str | None,
    prefix: str | None,
    error_prefix: str | None,
    gzip: bool,
    parquet: str | None,
    size_mb: int | None,
    interval_s: int | None,
    function: str | None,
) -> dict[str, Any]:
    """Roles are not looked at, but the protocol asks."""
    role = f"arn:aws:iam::{scope.account}:role/headrace"
    destination: dict[str, Any] = {"RoleARN": role, "BucketARN": f"arn:aws:s3:::{bucket}"}
    if prefix is not None:
        destination["Prefix"] = prefix
    if error_prefix is not None:
        destination["ErrorOutputPrefix"] = error_prefix
    if gzip:
        destination["CompressionFormat"] = "GZIP"
    if parquet is not None:
        destination["DataFormatConversionConfiguration"] = {
            "SchemaConfiguration": {"DatabaseName": DATABASE, "TableName": table(name), "RoleARN": role},
            "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
            "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
        }
    if size_mb is not None or interval_s is not None:
        destination["BufferingHints"] = {
            "SizeInMBs": size_mb or (5 if parquet is None else 128),
            "IntervalInSeconds": 300 if interval_s is None else interval_s,
        }
    if function is not None:
        arn = f"arn:aws:lambda:{scope.region}:{scope.account}:function:{function}"
        parameters = [{"ParameterName": "LambdaArn", "ParameterValue": arn}]
        destination["ProcessingConfiguration"] = {
            "Enabled": True,
            "Processors": [{"Type": "Lambda", "Parameters": parameters}],
        }
    found: dict[str, Any] = {"DeliveryStreamType": "DirectPut", "ExtendedS3DestinationConfiguration": destination}
    if source is not None:
        found["DeliveryStreamType"] = "KinesisStreamAsSource"
        found["KinesisStreamSourceConfiguration"] = {"KinesisStreamARN": scope.stream_arn(source), "RoleARN": role}
    if topic is not None:
        found["DeliveryStreamType"] = "MSKAsSource"
        found["MSKSourceConfiguration"] = {
            "MSKClusterARN": cluster,
            "TopicName": topic,
            "AuthenticationConfiguration": {"RoleARN": role, "Connectivity": "PRIVATE"},
        }
    return found


def table(name: str) -> str:
    """The table of the schema of delivery stream `name`: the catalog knows lower case only."""
    return name.lower().replace(".", "_").replace("-", "_")


def columns(text: str) -> list[dict[str, str]]:
    """``city string, km double`` as the catalog's columns; the types are Hive's. Raises `Failure`."""
    found = []
    for part in _parts(text):
        name, _, kind = part.strip().partition(" ")
        if not name or not kind.strip():
            raise Failure(f"--parquet: {part.strip()!r} is not a column and its type, as in 'city string, km double'")
        found.append({"Name": name, "Type": kind.strip()})
    return found


def _parts(text: str) -> list[str]:
    """Cut at commas that stand in no brackets: those of ``decimal(9,2)`` and ``struct<a:int,b:int>`` stay."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "(<") - (letter in ")>")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def register(target: Target, name: str, found: list[dict[str, str]]) -> None:
    """The table of a schema, made in the catalog. Raises `Failure`, also where there is one that says something else."""

    def glue(operation: str, **asked: Any) -> Any:
        return aws_call.call(target, "glue", operation, asked, "", list)

    if DATABASE not in [one["Name"] for one in glue("get_databases")["DatabaseList"]]:
        glue("create_database", DatabaseInput={"Name": DATABASE})
    known = {one["Name"]: one for one in glue("get_tables", DatabaseName=DATABASE)["TableList"]}
    if table(name) not in known:
        described = {"Name": table(name), "StorageDescriptor": {"Columns": found}}
        glue("create_table", DatabaseName=DATABASE, TableInput=described)
        return
    there = [{key: one[key] for key in ("Name", "Type")} for one in known[table(name)]["StorageDescriptor"]["Columns"]]
    if there != found:
        said = ", ".join(f"{one['Name']} {one['Type']}" for one in there)
        raise Failure(f"table {DATABASE}.{table(name)} of the data catalog has other columns: {said}")
