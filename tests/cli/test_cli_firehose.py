from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from tests.cli.cli_server import Headrace


@pytest.fixture
def name() -> str:
    return f"f-{uuid.uuid4().hex[:10]}"


def test_a_delivery_stream_from_its_making_to_its_end(headrace: Headrace, stream: str, name: str) -> None:
    made = headrace(
        "firehose", "create", name, "--bucket", "lake", "--source", stream, "--prefix", "raw/", "--gzip",
        "--size-mb", "1", "--interval-s", "0",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    assert made.stdout == ""
    assert f"delivery stream {name} delivers" in made.stderr

    assert name in headrace("firehose", "list").stdout
    assert name in json.loads(headrace("firehose", "list", "--json").stdout)

    shown = headrace("firehose", "describe", name)
    assert "ACTIVE" in shown.stdout
    plain = json.loads(headrace("firehose", "describe", name, "--json").stdout)
    assert plain["DeliveryStreamType"] == "KinesisStreamAsSource"
    destination = plain["Destinations"][0]["ExtendedS3DestinationDescription"]
    assert destination["BucketARN"] == "arn:aws:s3:::lake"
    assert destination["Prefix"] == "raw/"
    assert destination["CompressionFormat"] == "GZIP"
    assert destination["BufferingHints"] == {"SizeInMBs": 1, "IntervalInSeconds": 0}

    gone = headrace("firehose", "delete", name, "--yes")
    assert gone.exit_code == 0
    assert headrace("firehose", "describe", name).exit_code == 1


def test_direct_put_is_what_a_source_is_not(headrace: Headrace, name: str) -> None:
    assert headrace("firehose", "create", name, "--bucket", "lake").exit_code == 0
    assert json.loads(headrace("firehose", "describe", name, "--json").stdout)["DeliveryStreamType"] == "DirectPut"


def test_all_members_from_a_file(headrace: Headrace, name: str, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    destination = {"RoleARN": "arn:aws:iam::000000000000:role/r", "BucketARN": "arn:aws:s3:::other"}
    request.write_text(json.dumps({"DeliveryStreamName": "ignored", "ExtendedS3DestinationConfiguration": destination}))
    made = headrace("firehose", "create", name, "--request", str(request), "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["arn"].endswith(f"deliverystream/{name}")


@pytest.mark.parametrize("text", ["{", "[]", "nonsense"])
def test_a_request_that_is_not_an_object(headrace: Headrace, name: str, tmp_path: Path, text: str) -> None:
    (tmp_path / "request.json").write_text(text)
    made = headrace("firehose", "create", name, "--request", str(tmp_path / "request.json"))
    assert made.exit_code == 1
    assert "is not a JSON object" in made.stderr


def test_a_request_that_the_model_does_not_know(headrace: Headrace, name: str, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text('{"Bucket": "lake"}')
    made = headrace("firehose", "create", name, "--request", str(tmp_path / "request.json"))
    assert made.exit_code == 1
    assert "Bucket" in made.stderr


def test_neither_bucket_nor_request_is_wrong_usage(headrace: Headrace, name: str) -> None:
    assert headrace("firehose", "create", name).exit_code == 2


def test_a_source_that_does_not_exist(headrace: Headrace, name: str) -> None:
    made = headrace("firehose", "create", name, "--bucket", "lake", "--source", "no-such-stream")
    assert made.exit_code == 1
    assert "no-such-stream" in made.stderr
    topic = headrace("firehose", "create", name, "--bucket", "lake", "--topic", "t", "--cluster", "arn:aws:kafka:x")
    assert topic.exit_code == 1
    assert "the setting kafka_clusters says where the brokers of a cluster are" in " ".join(topic.stderr.split())
    alone = headrace("firehose", "create", name, "--bucket", "lake", "--topic", "t")
    assert "--topic and --cluster go together" in alone.stderr


def test_an_unknown_delivery_stream_gets_a_suggestion(headrace: Headrace) -> None:
    assert headrace("firehose", "create", "to-the-lake", "--bucket", "lake").exit_code == 0
    for command in ("describe", "delete"):
        missed = headrace("firehose", command, "to-the-lage")
        assert missed.exit_code == 1
        assert "did you mean to-the-lake?" in missed.stderr
