from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli.root import main
from gateway.testing import TestServer

ROLE = "arn:aws:iam::000000000000:role/r"
FUNCTIONS = {"raising": "tests.firehose.functions:raising", "upper": "tests.firehose.functions:upper"}


def lambda_(name: str) -> dict[str, Any]:
    given = {"LambdaArn": f"arn:aws:lambda:us-east-1:000000000000:function:{name}", "NumberOfRetries": "0"}
    return {"Type": "Lambda", "Parameters": [{"ParameterName": k, "ParameterValue": v} for k, v in given.items()]}


class Home:
    def __init__(self, server: TestServer, data: Path) -> None:
        self.server = server
        self.data = data
        self.firehose = server.client("firehose")

    def create(self, *processors: dict[str, Any], **members: Any) -> None:
        self.firehose.create_delivery_stream(
            DeliveryStreamName="clicks",
            ExtendedS3DestinationConfiguration={
                "RoleARN": ROLE,
                "BucketARN": "arn:aws:s3:::lake",
                "Prefix": "good/",
                "ErrorOutputPrefix": "bad/",
                "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 10},
                "ProcessingConfiguration": {"Enabled": True, "Processors": list(processors)},
            },
            **members,
        )

    def replay(self, *arguments: str, prefix: str = "bad/") -> Result:
        command = ["firehose", "replay", "clicks", prefix, "--endpoint", self.server.url, "--data", str(self.data)]
        return CliRunner().invoke(main, [*command, *arguments], prog_name="headrace")

    def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.server.advance(10)
            time.sleep(0.01)  # deliveries run in threads of the server, which tell nobody

    def objects(self, prefix: str) -> list[str]:
        found = (path for path in (self.data / "buckets" / "lake" / prefix).rglob("*") if path.is_file())
        return [path.read_text() for path in sorted(found) if not path.name.endswith(".replayed")]

    def failed(self) -> list[dict[str, Any]]:
        return [json.loads(line) for content in self.objects("bad") for line in content.splitlines()]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with TestServer(data=str(tmp_path), functions=FUNCTIONS) as server:
        yield Home(server, tmp_path)


def test_what_failed_is_put_again_once_it_can_pass(home: Home) -> None:
    home.create(lambda_("raising"))
    home.firehose.put_record_batch(DeliveryStreamName="clicks", Records=[{"Data": b"one"}, {"Data": b"two"}])
    home.until(lambda: len(home.failed()) == 2)
    dry = home.replay()
    assert dry.exit_code == 0, dry.output
    assert "Lambda.FunctionError" in dry.stdout
    assert "2 records of 1 objects, 6 bytes, would be put again; --yes puts them" in dry.stderr
    # Still broken: the same records fail again, and say that it was the second time.
    told = json.loads(home.replay("--yes", "--json").stdout)
    assert (told["records"], told["attempts_max"], told["put"]) == (2, 1, True)
    home.until(lambda: len(home.failed()) == 4)
    assert sorted(line["attemptsMade"] for line in home.failed()) == [1, 1, 2, 2]
    assert {base64.b64decode(line["rawData"]) for line in home.failed()} == {b"one", b"two"}
    # Repaired: what was replayed before is left out.
    home.firehose.update_destination(
        DeliveryStreamName="clicks",
        CurrentDeliveryStreamVersionId="1",
        DestinationId="destinationId-000000000001",
        ExtendedS3DestinationUpdate={"ProcessingConfiguration": {"Enabled": True, "Processors": [lambda_("upper")]}},
    )
    done = home.replay("--yes")
    assert "2 records of 1 objects, 6 bytes, were put again; 1 objects were replayed before" in done.stderr
    home.until(lambda: len(home.objects("good")) == 1)
    assert home.objects("good") == ["ONETWO"]
    assert len(home.failed()) == 4
    assert "nothing to replay under bad/; 2 objects were replayed before" in home.replay("--yes").stderr
    assert json.loads(home.replay("--json", "--again").stdout)["records"] == 4


def test_a_kinesis_source_gets_them_back(home: Home) -> None:
    kinesis = home.server.client("kinesis")
    kinesis.create_stream(StreamName="air", ShardCount=1)
    arn = kinesis.describe_stream_summary(StreamName="air")["StreamDescriptionSummary"]["StreamARN"]
    home.create(
        lambda_("raising"),
        DeliveryStreamType="KinesisStreamAsSource",
        KinesisStreamSourceConfiguration={"KinesisStreamARN": arn, "RoleARN": ROLE},
    )
    kinesis.put_record(StreamName="air", Data=b"one", PartitionKey="k")
    home.until(lambda: len(home.failed()) == 1)
    assert home.replay("--yes").exit_code == 0
    home.until(lambda: len(home.failed()) == 2)
    assert {base64.b64decode(line["rawData"]) for line in home.failed()} == {b"one"}


def test_compressed_records_come_back_as_they_were(home: Home) -> None:
    decompression = {
        "Type": "Decompression",
        "Parameters": [{"ParameterName": "CompressionFormat", "ParameterValue": "GZIP"}],
    }
    home.create(decompression, lambda_("raising"))
    packed = gzip.compress(b"one")
    home.firehose.put_record(DeliveryStreamName="clicks", Record={"Data": packed})
    home.until(lambda: len(home.failed()) == 1)
    assert base64.b64decode(home.failed()[0]["rawData"]) == packed
    assert home.replay("--yes").exit_code == 0
    home.until(lambda: len(home.failed()) == 2)
    assert sorted(line["attemptsMade"] for line in home.failed()) == [1, 2]


def test_what_is_no_error_output_is_refused(home: Home) -> None:
    home.create(lambda_("upper"))
    home.firehose.put_record(DeliveryStreamName="clicks", Record={"Data": b"one"})
    home.until(lambda: len(home.objects("good")) == 1)
    refused = home.replay("--yes", prefix="good/")
    assert refused.exit_code == 1
    assert "line 1 is not of an error output" in refused.stderr
    assert "nothing to replay under none/" in home.replay(prefix="none/").stderr
