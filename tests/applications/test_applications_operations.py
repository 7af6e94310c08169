"""The operations of both APIs as boto3 does them, without anything running."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import botocore.exceptions
import pytest

from gateway.testing import TestServer
from tests.applications.applications_support import (
    FILTER,
    ROLE,
    TICKERS,
    function_arn,
    output,
    put,
    schema,
    source,
    stream_arn,
)


@pytest.fixture(scope="module")
def server() -> Iterator[TestServer]:
    with TestServer(buckets={"elsewhere": "nowhere://x"}) as server:
        yield server


@pytest.fixture(scope="module")
def analytics(server: TestServer) -> Any:
    return server.client("kinesisanalytics")


@pytest.fixture(scope="module")
def second(server: TestServer) -> Any:
    return server.client("kinesisanalyticsv2")


def refused(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        call(**request)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


def described(analytics: Any, name: str) -> Any:
    return analytics.describe_application(ApplicationName=name)["ApplicationDetail"]


def test_a_configuration_grows_and_shrinks_by_versions(analytics: Any) -> None:
    name = {"ApplicationName": "grown"}
    analytics.create_application(**name, ApplicationDescription="a description")
    logging = {"LogStreamARN": "arn:aws:logs:us-east-1:000000000000:log-group:a:log-stream:b", "RoleARN": ROLE}
    reference = {
        "TableName": "COMPANIES",
        "S3ReferenceDataSource": {"BucketARN": "arn:aws:s3:::b", "FileKey": "c.csv", "ReferenceRoleARN": ROLE},
        "ReferenceSchema": schema(("code", "VARCHAR(4)"), csv=","),
    }
    processing = {"InputLambdaProcessor": {"ResourceARN": function_arn("clean"), "RoleARN": ROLE}}
    steps = [
        (analytics.add_application_input, {"Input": source("in")}),
        (
            analytics.add_application_input_processing_configuration,
            {"InputId": "2.1", "InputProcessingConfiguration": processing},
        ),
        (analytics.add_application_output, {"Output": output("DESTINATION_SQL_STREAM", "out")}),
        (analytics.add_application_reference_data_source, {"ReferenceDataSource": reference}),
        (analytics.add_application_cloud_watch_logging_option, {"CloudWatchLoggingOption": logging}),
        (analytics.update_application, {"ApplicationUpdate": {"ApplicationCodeUpdate": FILTER}}),
    ]
    for version, (operation, members) in enumerate(steps, 1):
        operation(**name, CurrentApplicationVersionId=version, **members)
    found = described(analytics, "grown")
    assert found["ApplicationVersionId"] == 7
    assert found["ApplicationStatus"] == "READY"
    assert found["ApplicationDescription"] == "a description"
    assert found["ApplicationCode"] == FILTER
    (given,) = found["InputDescriptions"]
    assert given["InputId"] == "2.1"
    assert given["InAppStreamNames"] == ["SOURCE_SQL_STREAM_001"]
    assert given["InputSchema"] == TICKERS
    assert given["KinesisStreamsInputDescription"]["ResourceARN"] == stream_arn("in")
    assert given["InputProcessingConfigurationDescription"] == {
        "InputLambdaProcessorDescription": processing["InputLambdaProcessor"]
    }
    (put_out,) = found["OutputDescriptions"]
    assert (put_out["OutputId"], put_out["Name"]) == ("4.1", "DESTINATION_SQL_STREAM")
    assert found["ReferenceDataSourceDescriptions"][0]["ReferenceId"] == "5.1"
    assert found["CloudWatchLoggingOptionDescriptions"] == [{"CloudWatchLoggingOptionId": "6.1", **logging}]
    steps = [
        (analytics.delete_application_output, {"OutputId": "4.1"}),
        (analytics.delete_application_reference_data_source, {"ReferenceId": "5.1"}),
        (analytics.delete_application_cloud_watch_logging_option, {"CloudWatchLoggingOptionId": "6.1"}),
        (analytics.delete_application_input_processing_configuration, {"InputId": "2.1"}),
    ]
    for version, (operation, members) in enumerate(steps, 7):
        operation(**name, CurrentApplicationVersionId=version, **members)
    found = described(analytics, "grown")
    assert found["ApplicationVersionId"] == 11
    assert "InputProcessingConfigurationDescription" not in found["InputDescriptions"][0]
    assert found["OutputDescriptions"] == found["ReferenceDataSourceDescriptions"] == []
    code, message = refused(analytics.delete_application_output, **name, CurrentApplicationVersionId=11, OutputId="4.1")
    assert (code, message) == ("ResourceNotFoundException", "The application has no output with the id 4.1.")
    code, message = refused(
        analytics.add_application_output, **name, CurrentApplicationVersionId=3, Output=output("A", "out")
    )
    assert code == "ConcurrentModificationException"
    assert "is at version 11, and not at 3" in message
    analytics.delete_application(**name, CreateTimestamp=found["CreateTimestamp"])
    assert refused(analytics.describe_application, **name)[0] == "ResourceNotFoundException"


def test_an_update_changes_each_part(analytics: Any) -> None:
    analytics.create_application(
        ApplicationName="changed", Inputs=[source("in")], Outputs=[output("A", "out"), output("B", "out")]
    )
    csv = schema(("ticker", "VARCHAR(4)"), csv="|")
    analytics.update_application(
        ApplicationName="changed",
        CurrentApplicationVersionId=1,
        ApplicationUpdate={
            "InputUpdates": [
                {
                    "InputId": "1.1",
                    "NamePrefixUpdate": "IN",
                    "InputParallelismUpdate": {"CountUpdate": 2},
                    "KinesisStreamsInputUpdate": {"ResourceARNUpdate": stream_arn("other")},
                    "InputSchemaUpdate": {
                        "RecordFormatUpdate": csv["RecordFormat"],
                        "RecordColumnUpdates": csv["RecordColumns"],
                    },
                }
            ],
            "OutputUpdates": [
                {
                    "OutputId": "1.2",
                    "NameUpdate": "C",
                    "DestinationSchemaUpdate": {"RecordFormatType": "CSV"},
                    "KinesisFirehoseOutputUpdate": {
                        "ResourceARNUpdate": "arn:aws:firehose:us-east-1:000000000000:deliverystream/d",
                        "RoleARNUpdate": ROLE,
                    },
                }
            ],
        },
    )
    found = described(analytics, "changed")
    (given,) = found["InputDescriptions"]
    assert given["InAppStreamNames"] == ["IN_001", "IN_002"]
    assert given["KinesisStreamsInputDescription"] == {"ResourceARN": stream_arn("other"), "RoleARN": ROLE}
    assert given["InputSchema"] == csv
    changed = found["OutputDescriptions"][1]
    assert changed["Name"] == "C"
    assert changed["KinesisFirehoseOutputDescription"]["ResourceARN"].endswith("deliverystream/d")
    assert "KinesisStreamsOutputDescription" not in changed


def test_what_is_refused(analytics: Any) -> None:
    analytics.create_application(ApplicationName="there", Inputs=[source("in")])
    name = {"ApplicationName": "there"}
    create = analytics.create_application
    assert refused(create, **name) == (
        "ResourceInUseException",
        "Application already exists: arn:aws:kinesisanalytics:us-east-1:000000000000:application/there.",
    )
    wrong = 'CREATE STREAM "A" (a INTEGER); CREATE PUMP p AS INSERT INTO "A" SELECT STREAM "prise" FROM SOURCE_SQL_STREAM_001;'
    code, message = refused(create, ApplicationName="a", ApplicationCode=wrong, Inputs=[source("in")])
    assert code == "CodeValidationException"
    assert message.startswith("Invalid application code: line 1, column ")
    assert message.endswith('has no column prise; did you mean "price"?')
    code, message = refused(create, ApplicationName="a", ApplicationCode="CREATE", Inputs=[source("in")])
    assert code == "CodeValidationException"
    bad = schema(("a", "NOTHING(3)"))
    code, message = refused(create, ApplicationName="a", ApplicationCode=FILTER, Inputs=[source("in", bad)])
    assert (code, "'NOTHING(3)' is not a type" in message) == ("CodeValidationException", True)
    both = source("in") | {
        "KinesisFirehoseInput": {"ResourceARN": "arn:aws:firehose:a:b:deliverystream/c", "RoleARN": ROLE}
    }
    assert refused(create, ApplicationName="a", Inputs=[both])[0] == "InvalidArgumentException"
    assert refused(create, ApplicationName="a", Inputs=[source("in"), source("in")]) == (
        "InvalidArgumentException",
        "An application has at most 1 input.",
    )
    outputs = [output(name, "out") for name in "ABCD"]
    assert refused(create, ApplicationName="a", Outputs=outputs)[1] == "An application has at most 3 outputs."
    pathless = schema(("a", "INTEGER"))
    del pathless["RecordColumns"][0]["Mapping"]
    assert "has no Mapping" in refused(create, ApplicationName="a", Inputs=[source("in", pathless)])[1]
    start = {"InputConfigurations": [{"Id": "1.1", "InputStartingPositionConfiguration": {}}]}
    code, message = refused(analytics.start_application, **name, **start)
    assert (code, message.endswith("has no code.")) == ("InvalidApplicationConfigurationException", True)
    analytics.update_application(
        **name, CurrentApplicationVersionId=1, ApplicationUpdate={"ApplicationCodeUpdate": FILTER}
    )
    code, message = refused(analytics.start_application, **name, **start)
    assert (code, message) == (
        "InvalidApplicationConfigurationException",
        "Stream arn:aws:kinesis:us-east-1:000000000000:stream/in was not found.",
    )
    analytics.add_application_output(**name, CurrentApplicationVersionId=2, Output=output("NONE", "out"))
    code, message = refused(analytics.start_application, **name, **start)
    assert message == "Output 3.1: the code makes no stream NONE; it makes DESTINATION_SQL_STREAM, error_stream."
    assert refused(analytics.stop_application, **name)[0] == "ResourceInUseException"
    wrong_id = {"InputConfigurations": [{"Id": "9.9", "InputStartingPositionConfiguration": {}}]}
    assert refused(analytics.start_application, **name, **wrong_id)[0] == "InvalidArgumentException"
    assert refused(analytics.delete_application, **name, CreateTimestamp=1)[0] == "InvalidArgumentException"
    code, message = refused(create, ApplicationName="no name")
    assert (code, "failed to satisfy constraint" in message) == ("ValidationException", True)


def test_lists_and_tags(analytics: Any) -> None:
    for number in range(3):
        analytics.create_application(ApplicationName=f"list-{number}", Tags=[{"Key": "n", "Value": str(number)}])
    page = analytics.list_applications(Limit=2, ExclusiveStartApplicationName="list-")
    assert [each["ApplicationName"] for each in page["ApplicationSummaries"]] == ["list-0", "list-1"]
    assert page["HasMoreApplications"] is True
    arn = page["ApplicationSummaries"][1]["ApplicationARN"]
    analytics.tag_resource(ResourceARN=arn, Tags=[{"Key": "a", "Value": "b"}])
    analytics.untag_resource(ResourceARN=arn, TagKeys=["n"])
    assert analytics.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    many = [{"Key": str(number), "Value": ""} for number in range(51)]
    assert refused(analytics.tag_resource, ResourceARN=arn, Tags=many)[0] == "TooManyTagsException"
    assert refused(analytics.list_tags_for_resource, ResourceARN=arn + "x")[0] == "ResourceNotFoundException"


def test_schemas_are_discovered(server: TestServer, analytics: Any) -> None:
    kinesis = server.client("kinesis")

    def discover(stream: str) -> Any:
        begin = {"InputStartingPosition": "TRIM_HORIZON"}
        return analytics.discover_input_schema(
            ResourceARN=stream_arn(stream), RoleARN=ROLE, InputStartingPositionConfiguration=begin
        )

    for stream in ("json", "csv", "words"):
        kinesis.create_stream(StreamName=stream, ShardCount=1)
    put(kinesis, "json", [{"ticker": "AMZN", "price": 1.5, "user": {"name": "x", "@@": 1}}])
    found = discover("json")
    assert found["RawInputRecords"] == found["ProcessedInputRecords"]
    assert found["ParsedInputRecords"] == [["AMZN", "1.5", "x", "1"]]
    assert [(each["Name"], each["SqlType"], each["Mapping"]) for each in found["InputSchema"]["RecordColumns"]] == [
        ("ticker", "VARCHAR(8)", "$.ticker"),
        ("price", "DOUBLE", "$.price"),
        ("user_name", "VARCHAR(4)", "$.user.name"),
        ("COL_user_", "INTEGER", "$.user.@@"),
    ]
    put(kinesis, "csv", [b"AMZN|3|2026-01-01 00:00:00\nTBV|4|2026-01-02 00:00:00"])
    found = discover("csv")["InputSchema"]
    assert found["RecordFormat"]["MappingParameters"]["CSVMappingParameters"]["RecordColumnDelimiter"] == "|"
    assert [each["SqlType"] for each in found["RecordColumns"]] == ["VARCHAR(8)", "INTEGER", "TIMESTAMP"]
    put(kinesis, "words", [b"hello there"])
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        discover("words")
    assert raised.value.response["Error"]["Code"] == "UnableToDetectSchemaException"
    assert raised.value.response["RawInputRecords"] == ["hello there"]
    folder = server.settings.data_path / "buckets" / "samples"
    folder.mkdir(parents=True)
    (folder / "a.json").write_bytes(b'{"a": 1}\n{"a": 2}\n')
    where = {"BucketARN": "arn:aws:s3:::samples", "FileKey": "a.json", "RoleARN": ROLE}
    found = analytics.discover_input_schema(S3Configuration=where)
    assert found["ParsedInputRecords"] == [["1"], ["2"]]
    (folder / "pretty.json").write_bytes(b'[\n {"a": 1},\n {"a": 2}\n]\n')
    found = analytics.discover_input_schema(S3Configuration={**where, "FileKey": "pretty.json"})
    assert found["ParsedInputRecords"] == [["1"], ["2"]]
    for arguments, said in [
        ({}, "Exactly one of ResourceARN and S3Configuration is needed."),
        ({"S3Configuration": {**where, "FileKey": "b.json"}}, "There is no object b.json in arn:aws:s3:::samples."),
        ({"S3Configuration": {**where, "FileKey": "../samples"}}, "FileKey ../samples leads out of bucket samples."),
        (
            {"S3Configuration": {**where, "BucketARN": "arn:aws:s3:::elsewhere"}},
            "Object a.json in arn:aws:s3:::elsewhere cannot be read: ValueError: Protocol not known: nowhere",
        ),
        (
            {
                "S3Configuration": where,
                "InputProcessingConfiguration": {
                    "InputLambdaProcessor": {"ResourceARN": function_arn("clean"), "RoleARN": ROLE}
                },
            },
            "InputProcessingConfiguration is for the records of ResourceARN, not for S3Configuration.",
        ),
    ]:
        assert refused(analytics.discover_input_schema, **arguments) == ("InvalidArgumentException", said)


def test_the_second_api_has_the_same_applications(analytics: Any, second: Any) -> None:
    given = source("in")
    del given["KinesisStreamsInput"]["RoleARN"]
    name = {"ApplicationName": "second"}
    made = second.create_application(
        **name,
        RuntimeEnvironment="SQL-1_0",
        ServiceExecutionRole=ROLE,
        ApplicationConfiguration={
            "SqlApplicationConfiguration": {"Inputs": [given]},
            "ApplicationCodeConfiguration": {"CodeContentType": "PLAINTEXT", "CodeContent": {"TextContent": FILTER}},
        },
    )["ApplicationDetail"]
    assert (made["ApplicationVersionId"], made["ServiceExecutionRole"]) == (1, ROLE)
    assert described(analytics, "second")["ApplicationCode"] == FILTER
    destination = output("DESTINATION_SQL_STREAM", "out")
    del destination["KinesisStreamsOutput"]["RoleARN"]
    added = second.add_application_output(**name, CurrentApplicationVersionId=1, Output=destination)
    assert added["ApplicationVersionId"] == 2
    assert added["OutputDescriptions"][0]["OutputId"] == "2.1"
    token = second.describe_application(**name)["ApplicationDetail"]["ConditionalToken"]
    code = FILTER.replace("> 10", "> 20")
    update = {
        "ApplicationCodeConfigurationUpdate": {"CodeContentUpdate": {"TextContentUpdate": code}},
        "SqlApplicationConfigurationUpdate": {
            "InputUpdates": [{"InputId": "1.1", "InputParallelismUpdate": {"CountUpdate": 2}}]
        },
    }
    second.update_application(**name, ConditionalToken=token, ApplicationConfigurationUpdate=update)
    again = refused(second.update_application, **name, ConditionalToken=token, ApplicationConfigurationUpdate=update)
    assert again[0] == "ConcurrentModificationException"
    assert refused(second.update_application, **name)[0] == "InvalidArgumentException"
    listed = second.list_application_versions(**name, Limit=2)
    assert [each["ApplicationVersionId"] for each in listed["ApplicationVersionSummaries"]] == [3, 2]
    rest = second.list_application_versions(**name, NextToken=listed["NextToken"])
    assert [each["ApplicationVersionId"] for each in rest["ApplicationVersionSummaries"]] == [1]
    old = second.describe_application_version(**name, ApplicationVersionId=1)["ApplicationVersionDetail"]
    configuration = old["ApplicationConfigurationDescription"]
    assert configuration["ApplicationCodeConfigurationDescription"]["CodeContentDescription"]["TextContent"] == FILTER
    back = second.rollback_application(**name, CurrentApplicationVersionId=3)["ApplicationDetail"]
    assert back["ApplicationVersionId"] == 4
    assert described(analytics, "second")["ApplicationCode"] == FILTER
    second.delete_application_output(**name, CurrentApplicationVersionId=4, OutputId="2.1")
    assert "second" in [each["ApplicationName"] for each in second.list_applications()["ApplicationSummaries"]]
    flink = refused(
        second.create_application, ApplicationName="f", RuntimeEnvironment="FLINK-1_20", ServiceExecutionRole=ROLE
    )
    assert flink == (
        "UnsupportedOperationException",
        "Headrace runs applications of the runtime SQL-1_0, not FLINK-1_20.",
    )
    window = {"ApplicationMaintenanceWindowStartTimeUpdate": "06:00"}
    for operation, call, more in (
        ("ListApplicationSnapshots", second.list_application_snapshots, {}),
        ("ListApplicationOperations", second.list_application_operations, {}),
        ("DescribeApplicationOperation", second.describe_application_operation, {"OperationId": "1"}),
        (
            "UpdateApplicationMaintenanceConfiguration",
            second.update_application_maintenance_configuration,
            {"ApplicationMaintenanceConfigurationUpdate": window},
        ),
    ):
        assert refused(call, **name, **more) == (
            "UnsupportedOperationException",
            f"{operation} is supported only for applications of Apache Flink; Headrace runs those of the runtime SQL-1_0.",
        )
