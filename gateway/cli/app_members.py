"""Members of the API's requests from what a person types, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from connectors.kafka_clusters import is_topic
from gateway.cli.failure import Failure
from gateway.cli.texts import text_of
from streams.core.scope import Scope

_OUTPUTS = {"stream": "KinesisStreamsOutput", "firehose": "KinesisFirehoseOutput", "function": "LambdaOutput"}


def role(scope: Scope) -> str:
    """Of no meaning here; the API wants one."""
    return f"arn:aws:iam::{scope.account}:role/headrace"


def source(scope: Scope, text: str) -> dict[str, Any]:
    """``STREAM``, ``firehose:NAME``, or the ARN of a Kafka topic."""
    if is_topic(text):
        return {"KinesisStreamsInput": {"ResourceARN": text, "RoleARN": role(scope)}}
    kind, found, name = text.partition(":")
    if found and kind == "firehose":
        return {"KinesisFirehoseInput": {"ResourceARN": scope.delivery_stream_arn(name), "RoleARN": role(scope)}}
    return {"KinesisStreamsInput": {"ResourceARN": scope.stream_arn(text), "RoleARN": role(scope)}}


def output(scope: Scope, text: str, *, csv: bool) -> dict[str, Any]:
    """``NAME=stream:S``, ``NAME=firehose:D``, ``NAME=function:F``, or ``NAME=`` and the ARN of a Kafka topic."""
    stream, _, where = text.partition("=")
    kind, _, name = where.partition(":")
    if stream and is_topic(where):
        return _to("stream", stream, where, scope, csv=csv)
    if not stream or kind not in _OUTPUTS or not name:
        raise click.BadParameter(
            f"{text!r} is not NAME=stream:S, NAME=firehose:D, NAME=function:F or NAME=ARN of a topic", param_hint="--to"
        )
    arns = {
        "stream": scope.stream_arn(name),
        "firehose": scope.delivery_stream_arn(name),
        "function": f"arn:aws:lambda:{scope.region}:{scope.account}:function:{name}",
    }
    return _to(kind, stream, arns[kind], scope, csv=csv)


def _to(kind: str, stream: str, arn: str, scope: Scope, *, csv: bool) -> dict[str, Any]:
    return {
        "Name": stream,
        _OUTPUTS[kind]: {"ResourceARN": arn, "RoleARN": role(scope)},
        "DestinationSchema": {"RecordFormatType": "CSV" if csv else "JSON"},
    }


def shown(described: dict[str, Any]) -> str:
    """An input, output or reference data source on one line."""
    arn = next((value["ResourceARN"] for value in described.values() if "ResourceARN" in value), "")
    if "TableName" in described:
        where = described["S3ReferenceDataSourceDescription"]
        return f"{described['TableName']} from {where['BucketARN']}/{where['FileKey']}"
    if "OutputId" in described:
        return f"{described['Name']} to {arn} as {described['DestinationSchema']['RecordFormatType']}"
    return f"{', '.join(described['InAppStreamNames'])} from {arn}"


def read(path: Path) -> Any:
    """A file of JSON. Raises `Failure`."""
    try:
        return json.loads(text_of(path))
    except ValueError as error:
        raise Failure(f"{path} is not JSON: {error}") from error
