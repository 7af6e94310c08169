from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from gateway.cli.root import main
from gateway.testing import TestServer

ROLE = "arn:aws:iam::000000000000:role/r"
CONFIG = """
firehose_compat = "emulator"
[functions]
sort_out = "tests.firehose.functions:sort_out"
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["firehose", "explain", *arguments], prog_name="headrace")


def step(kind: str, **parameters: str) -> dict[str, Any]:
    return {"Type": kind, "Parameters": [{"ParameterName": k, "ParameterValue": v} for k, v in parameters.items()]}


def destination(*processors: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "RoleARN": ROLE,
        "BucketARN": "arn:aws:s3:::lake",
        "ProcessingConfiguration": {"Enabled": bool(processors), "Processors": list(processors)},
        **members,
    }


def written(folder: Path, extended: dict[str, Any], *samples: bytes) -> list[str]:
    (folder / "request.json").write_text(json.dumps({"ExtendedS3DestinationConfiguration": extended}))
    (folder / "headrace.toml").write_text(CONFIG)
    (folder / "samples").write_bytes(b"\n".join(samples) + b"\n")
    options = ["--request", "request.json", "--config", "headrace.toml", "--record", "samples"]
    return [str(folder / option) if "." in option or option == "samples" else option for option in options]


def test_partition_keys_names_and_errors_without_a_server(tmp_path: Path) -> None:
    by_key = destination(
        step("MetadataExtraction", MetadataExtractionQuery="{c: .c}", JsonParsingEngine="JQ-1.6"),
        Prefix="c=!{partitionKeyFromQuery:c}/",
        ErrorOutputPrefix="bad/!{firehose:error-output-type}/",
        CompressionFormat="GZIP",
        DynamicPartitioningConfiguration={"Enabled": True},
    )
    options = written(tmp_path, by_key, b'{"c": "AA"}', b"text")
    good, bad = map(json.loads, run(*options, "--lines", "--json").stdout.splitlines())
    assert (good["route"], good["partition_keys"], good["data"]) == ("object", {"c": "AA"}, '{"c": "AA"}')
    assert good["key"].startswith("c=AA/NAME-1-")
    assert good["key"].endswith("-UUID.gz")
    assert (bad["route"], bad["message"]) == ("metadata-extraction-failed", "Non JSON record provided")
    assert bad["key"].startswith("bad/metadata-extraction-failed/NAME-1-")
    shown = run(*options, "--lines").stdout
    assert f"{tmp_path}/samples, line 1: object" in shown
    assert "error output metadata-extraction-failed" in shown
    assert "partition keys  c=AA" in shown


def test_a_function_is_run_here(tmp_path: Path) -> None:
    arn = "arn:aws:lambda:us-east-1:000000000000:function:sort_out"
    options = written(tmp_path, destination(step("Lambda", LambdaArn=arn)), b"k1", b"d2", b"f3")
    routes = [json.loads(line)["route"] for line in run(*options, "--lines", "--json").stdout.splitlines()]
    assert routes == ["object", "dropped", "processing-failed"]


def test_the_row_of_a_schema_that_the_server_has(tmp_path: Path) -> None:
    conversion = {
        "SchemaConfiguration": {"RoleARN": ROLE, "DatabaseName": "air", "TableName": "flights"},
        "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
        "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
    }
    extended = destination(
        DataFormatConversionConfiguration=conversion, BufferingHints={"SizeInMBs": 64, "IntervalInSeconds": 1}
    )
    options = written(tmp_path, extended, b'{"month": 7, "other": 1}', b'{"month": "July"}')
    with TestServer() as server:
        missing = run(*options, "--lines", "--endpoint", server.url)
        assert missing.exit_code == 1
        assert "Database air not found" in missing.stderr
        glue, firehose = server.client("glue"), server.client("firehose")
        glue.create_database(DatabaseInput={"Name": "air"})
        columns = [{"Name": "month", "Type": "int"}]
        glue.create_table(DatabaseName="air", TableInput={"Name": "flights", "StorageDescriptor": {"Columns": columns}})
        firehose.create_delivery_stream(DeliveryStreamName="a", ExtendedS3DestinationConfiguration=extended)
        record = ["--record", str(tmp_path / "samples"), "--lines", "--json", "--endpoint", server.url]
        for source in (options[:4], ["a"]):
            good, bad = map(json.loads, run(*source, *record).stdout.splitlines())
            assert (good["route"], good["row"]) == ("object", {"month": 7})
            assert good["key"].endswith("-UUID.parquet")
            assert (bad["route"], bad["error"]) == ("format-conversion-failed", "DataFormatConversion.MalformedData")
            assert bad["data"] == '{"month": "July"}'


def test_what_cannot_be_is_said_in_the_words_of_a_create(tmp_path: Path) -> None:
    options = written(tmp_path, destination(Prefix="!{timestamp:yyyy}/"), b"1")
    refused = run(*options)
    assert refused.exit_code == 1
    assert "ErrorOutputPrefix cannot be null or empty when Prefix contains expressions" in refused.stderr
    assert run("--record", options[-1]).exit_code == 2
    (tmp_path / "request.json").write_text('{"SplunkDestinationConfiguration": {}}')
    assert "names SplunkDestinationConfiguration" in run(*options).stderr


def test_what_a_policy_of_drift_makes_of_samples(tmp_path: Path) -> None:
    conversion = {
        "SchemaConfiguration": {"RoleARN": ROLE, "DatabaseName": "air", "TableName": "flights"},
        "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
        "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
    }
    extended = destination(
        DataFormatConversionConfiguration=conversion, BufferingHints={"SizeInMBs": 64, "IntervalInSeconds": 1}
    )
    columns = [{"Name": "id", "Type": "int"}, {"Name": "_rest", "Type": "string"}]
    options = written(tmp_path, extended, b'{"id": 1}', b'{"id": 2, "gate": 7}', b'{"id": 3, "gate": 1.5}')
    with TestServer() as server:
        glue = server.client("glue")
        glue.create_database(DatabaseInput={"Name": "air"})
        glue.create_table(DatabaseName="air", TableInput={"Name": "flights", "StorageDescriptor": {"Columns": columns}})
        shown = {}
        for policy in ("freeze", "evolve", "error", "text"):
            request = {
                "ExtendedS3DestinationConfiguration": extended,
                "Tags": [{"Key": "headrace:drift", "Value": policy}],
            }
            (tmp_path / "request.json").write_text(json.dumps(request))
            result = run(*options, "--lines", "--json", "--endpoint", server.url)
            shown[policy] = [json.loads(line) for line in result.stdout.splitlines()]
        assert glue.get_table(DatabaseName="air", Name="flights")["Table"]["VersionId"] == "0"
    assert all("drift" not in lines[0] for lines in shown.values())
    assert shown["freeze"][1]["drift"] == 'freeze: "gate": left out'
    assert [line["drift"] for line in shown["evolve"][1:]] == [
        "evolve: new column gate int",
        "evolve: column gate int becomes double",
    ]
    assert shown["evolve"][2]["row"] == {"id": 3, "_rest": None, "gate": 1.5}
    assert (shown["error"][1]["route"], shown["error"][1]["error"]) == (
        "format-conversion-failed",
        "DataFormatConversion.UnknownKeys",
    )
    assert shown["text"][1]["row"] == {"id": 2, "_rest": '{"gate":7}'}
    assert shown["text"][1]["drift"] == 'text: "gate": kept in the column _rest'
