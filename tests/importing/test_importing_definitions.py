"""Definitions in CloudFormation and Terraform: what is understood of them, and what a server makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.importing import cloudformation, hcl, terraform
from gateway.testing import TestServer
from streams.core.errors import ValidationError
from streams.core.scope import Scope
from tests.applications.applications_support import put, rows

FOLDER = Path(__file__).parent
SCOPE = Scope()


def headrace(server: TestServer, *arguments: str) -> Result:
    return CliRunner(env={"HEADRACE_ENDPOINT": server.url}).invoke(main, list(arguments), prog_name="headrace")


def test_a_template_runs_as_it_is(headrace_server: TestServer) -> None:
    server = headrace_server
    folder = server.settings.data_path / "buckets" / "tables"
    folder.mkdir(parents=True)
    (folder / "companies.csv").write_text("AMZN,Amazon\n")
    done = headrace(server, "import", str(FOLDER / "stock.yaml"), "--start")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines() == [
        "application stocks-test: 5 lines of SQL",
        "  input SOURCE_SQL_STREAM_001 from stream ticks-test: JSON, 2 columns",
        "  reference table COMPANIES from tables/companies.csv",
        "  output DESTINATION_SQL_STREAM to delivery stream ticks-test-lake as CSV",
        "  output DESTINATION_SQL_STREAM to stream dear-ticks as JSON",
        "stream ticks-test: 1 shard",
        "stream dear-ticks: 2 shards",
        "delivery stream ticks-test-lake",
        "note: Alarms (AWS::SNS::Topic) is left out: its condition does not hold",
        "note: Role (AWS::IAM::Role) is left out",
    ]
    assert "delivery stream ticks-test-lake is made" in done.stderr
    assert "application stocks-test is started" in done.stderr
    kinesis = server.client("kinesis")
    put(kinesis, "ticks-test", [{"ticker": "AMZN", "price": 9}, {"ticker": "AMZN", "price": 11}])
    assert rows(kinesis, "dear-ticks", 1) == [{"ticker": "AMZN", "name": "Amazon", "price": 11.0}]
    again = headrace(server, "import", str(FOLDER / "stock.yaml"))
    assert (again.exit_code, "Application already exists" in again.stderr) == (1, True)


def test_an_application_that_cannot_be_made_does_not_hold_up_the_rest(
    headrace_server: TestServer, tmp_path: Path
) -> None:
    wrong = {"ApplicationName": "wrong", "ApplicationCode": "CREATE", "Inputs": []}
    right = {"ApplicationName": "right", "Inputs": []}
    kind = "AWS::KinesisAnalytics::Application"
    resources = {"A": {"Type": kind, "Properties": wrong}, "B": {"Type": kind, "Properties": right}}
    (tmp_path / "two.json").write_text(json.dumps({"Resources": resources}))
    done = headrace(headrace_server, "import", str(tmp_path / "two.json"))
    assert done.exit_code == 1
    assert "application wrong is not as defined: Invalid application code: line 1, column " in done.stderr
    assert "application right is made" in done.stderr
    assert "1 of 2 applications could not be made as " in done.stderr


def test_hcl_runs_as_it_is(headrace_server: TestServer) -> None:
    server = headrace_server
    done = headrace(server, "import", str(FOLDER / "stock.tf"), "--parameter", "threshold=20")
    assert done.exit_code == 0, done.stderr
    assert "note: aws_iam_role.role is left out" in done.stdout
    assert "runs, from TRIM_HORIZON" in done.stdout
    lake = server.client("firehose").describe_delivery_stream(DeliveryStreamName="lake-hcl")
    source = lake["DeliveryStreamDescription"]["Source"]["KinesisStreamSourceDescription"]
    assert source["KinesisStreamARN"] == SCOPE.stream_arn("dear-hcl")
    kinesis, analytics = server.client("kinesis"), server.client("kinesisanalytics")
    code = analytics.describe_application(ApplicationName="stocks-hcl")["ApplicationDetail"]["ApplicationCode"]
    assert code.startswith('-- Ticks that are "dear"\nCREATE STREAM "DEAR"')
    put(kinesis, "ticks-hcl", [{"ticker": "A", "price": 11}, {"ticker": "B", "price": 21}])
    assert rows(kinesis, "dear-hcl", 1) == [{"ticker": "B", "price": 21.0}]


def test_a_plan_is_understood_with_what_it_only_refers_to() -> None:
    plan = json.loads((FOLDER / "plan.json").read_text())
    understood = terraform.understand_plan(plan, SCOPE)
    (found,) = understood.applications
    assert found.lines() == [
        "application stocks-plan: 2 lines of SQL",
        "  input IN_001 to _002 from stream ticks-plan: CSV, 1 column, through function clean",
        "  output DEAR to delivery stream lake as CSV",
    ]
    (given,) = found.inputs
    assert given["KinesisStreamsInput"]["ResourceARN"] == SCOPE.stream_arn("ticks-plan")
    arn = given["InputProcessingConfiguration"]["InputLambdaProcessor"]["ResourceARN"]
    assert arn == "arn:aws:lambda:us-east-1:000000000000:function:clean:LIVE"
    assert found.outputs[0]["KinesisFirehoseOutput"]["ResourceARN"] == SCOPE.delivery_stream_arn("lake")
    assert found.functions() == ["clean"]
    assert understood.streams == {"ticks-plan": 1}
    assert understood.notes == [
        "aws_kinesisanalyticsv2_application.flink is left out: its runtime is FLINK-1_20, not SQL-1_0"
    ]


def test_the_second_type_of_a_template_is_understood_too() -> None:
    template = {
        "Resources": {
            "App": {
                "Type": "AWS::KinesisAnalyticsV2::Application",
                "Properties": {
                    "RuntimeEnvironment": "SQL-1_0",
                    "ApplicationConfiguration": {
                        "ApplicationCodeConfiguration": {
                            "CodeContentType": "PLAINTEXT",
                            "CodeContent": {"TextContent": {"Fn::Join": ["\n", ["SELECT", "1"]]}},
                        },
                        "SqlApplicationConfiguration": {
                            "Inputs": [
                                {
                                    "NamePrefix": "IN",
                                    "KinesisStreamsInput": {"ResourceARN": {"Fn::ImportValue": "elsewhere"}},
                                    "InputSchema": {"RecordColumns": [], "RecordFormat": {"RecordFormatType": "JSON"}},
                                }
                            ]
                        },
                    },
                },
            }
        }
    }
    understood = cloudformation.understand(json.dumps(template), SCOPE, {})
    (found,) = understood.applications
    assert (found.name, found.code) == ("App", "SELECT\n1")
    assert found.inputs[0]["KinesisStreamsInput"]["RoleARN"].startswith("arn:aws:iam:")
    assert understood.notes == ["Fn::ImportValue is not worked out"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "this is neither YAML nor JSON: line 1, column 5: expected the node content"),
        ("a: \x00", "this is neither YAML nor JSON"),
        ("Resources: {A: 5}", "A: a property is not of its kind"),
        (
            'Resources: {A: {Type: "AWS::KinesisAnalytics::Application", Properties: {Inputs: 5}}}',
            "A: a property is not of its kind: 'int' object is not iterable",
        ),
        (
            'Resources: {A: {Type: "AWS::KinesisAnalytics::ApplicationOutput", Properties: {ApplicationName: !Ref B}}, '
            'B: {Type: "AWS::KinesisAnalytics::Application", Properties: {}}}',
            "A: the property Output is missing",
        ),
        (
            'Resources: {A: {Type: "AWS::Kinesis::Stream", Properties: {ShardCount: many}}}',
            "A: a property is not of its kind",
        ),
        ("just words", "this is no template"),
        ("a: b", "the template has no Resources"),
        ('Resources: {A: {Type: "AWS::Kinesis::Stream", Properties: {Name: !Ref A}}}', "refers to itself"),
    ],
)
def test_what_is_no_template(text: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        cloudformation.understand(text, SCOPE, {})


def test_an_input_that_says_too_little_is_said_in_a_sentence() -> None:
    properties = {"Inputs": [{"InputSchema": {}}]}
    text = json.dumps({"Resources": {"A": {"Type": "AWS::KinesisAnalytics::Application", "Properties": properties}}})
    understood = cloudformation.understand(text, SCOPE, {})
    with pytest.raises(ValidationError, match="application A: the property NamePrefix is missing"):
        understood.lines()


def test_a_plan_that_is_malformed(tmp_path: Path) -> None:
    values = {"name": "a", "inputs": [5]}
    resource = {"type": "aws_kinesis_analytics_application", "name": "a", "values": values}
    plan = {"planned_values": {"root_module": {"resources": [resource]}}}
    with pytest.raises(ValidationError, match=r"aws_kinesis_analytics_application.a: a property is not of its kind"):
        terraform.understand_plan(plan, SCOPE)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "bytes.yaml"
    path.write_bytes(b"a\xff")
    for command in (["import"], ["sql", "-f"], ["sql", "explain"], ["app", "create", "--input", "s", "a"]):
        done = CliRunner().invoke(main, [*command, str(path)], prog_name="headrace")
        assert done.exit_code == 1
        assert f"{path} is no text: byte 2 is not UTF-8" in done.stderr


def test_what_is_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "a.tf"
    path.write_text('resource "x" {')
    with pytest.raises(ValidationError, match="is not HCL"):
        hcl.understand_folder([path], SCOPE, {})
    path.write_text('locals {\n  a = local.b\n  b = local.a\n}\nresource "t" "n" {\n  x = local.a\n}\n')
    with pytest.raises(ValidationError, match="refers to itself"):
        hcl.understand_folder([path], SCOPE, {})
