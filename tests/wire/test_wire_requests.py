"""Requests made from the shapes: JSON = CBOR = what was meant, and botocore's own bytes decode to what botocore was given."""

from __future__ import annotations

import contextlib
import json
import logging
from functools import cache
from typing import Any

import botocore.model
import botocore.serialize
import botocore.session
import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_shapes import OPERATIONS, from_request, to_cbor, to_json, values

from streams.core.errors import SerializationError, UnknownOperation, ValidationError
from streams.wire import validate
from streams.wire.model import load
from streams.wire.protocol import CBOR, JSON, protocol
from streams.wire.types import attribute

LENIENT = settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
EVERY = [(service, name) for service in ("kinesis", "firehose") for name in sorted(load(service).operations)]


@cache
def botocore_model(service: str) -> Any:
    model = botocore.session.get_session().get_component("data_loader").load_service_model(service, "service-2")
    return botocore.model.ServiceModel(model, service)


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_json_cbor_and_botocores_bytes_decode_to_what_was_meant(
    service: str, operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    shape = load(service).operations[operation].input
    target = protocol(service)
    serializer = botocore.serialize.create_serializer("json", include_validation=False)
    botocores = botocore_model(service).operation_model(operation)

    @LENIENT
    @given(value=values(shape), indefinite=st.booleans())
    def check(value: Any, indefinite: bool) -> None:
        as_json = json.dumps(to_json(value)).encode()
        as_cbor = cbor2.dumps(to_cbor(shape, value), indefinite_containers=indefinite)
        request = target.decode(operation, JSON, as_json)
        assert from_request(request) == value
        assert target.decode(operation, CBOR, as_cbor) == request
        # The slow path lets pass what the fast one does.
        model = load(service)
        plainly = json.loads(as_json)
        assert validate.request(model, model.operations[operation], plainly, blobs_are_text=True) == request
        value = _whole_seconds(value)
        sent = serializer.serialize_to_request(value, botocores)
        assert sent["headers"]["X-Amz-Target"] == f"{target.target_prefix}.{operation}"
        assert sent["headers"]["Content-Type"] == JSON
        assert from_request(target.decode(operation, JSON, sent["body"])) == value

    with caplog.at_level(logging.ERROR):
        check()
    assert not caplog.records


@pytest.mark.parametrize(("service", "operation"), EVERY)
def test_every_operation_of_the_model_decodes(service: str, operation: str) -> None:
    shape = load(service).operations[operation].input
    target = protocol(service)

    @settings(parent=LENIENT, max_examples=4)
    @given(value=values(shape))
    def check(value: Any) -> None:
        assert from_request(target.decode(operation, JSON, json.dumps(to_json(value)).encode())) == value

    check()


NESTED = [
    ("CreateJob", b'{"Name":"j","Role":"r","Command":{},"CodeGenConfigurationNodes":{"a":%s}}'),
    ("SearchAssets", b'{"SearchText":"a","FilterClause":%s}'),
]


@pytest.mark.parametrize(("operation", "body"), NESTED, ids=[name for name, _ in NESTED])
@pytest.mark.parametrize("depth", [1, 100, 400, 800, 100_000])
def test_a_structure_that_can_hold_itself(operation: str, body: bytes, depth: int) -> None:
    """Taken, or refused: at whatever depth the decoder or the checks give up."""
    inner = b'{"And":[' * depth + b"]}" * depth
    glue = protocol("glue")
    glue.decode(operation, JSON, body % b"{}")
    for sent in (body % inner, body.replace(b'"r"', b"7").replace(b'"a",', b"7,") % inner):
        with contextlib.suppress(SerializationError, ValidationError):
            glue.decode(operation, JSON, sent)


def _whole_seconds(value: Any) -> Any:
    """botocore sends no fraction of a second."""
    match value:
        case float():
            return float(abs(int(value)))
        case dict():
            return {key: _whole_seconds(one) for key, one in value.items()}
        case list():
            return [_whole_seconds(one) for one in value]
        case _:
            return value


def test_attributes_are_botocores_snake_case() -> None:
    request = protocol("kinesis").decode("ListShards", JSON, b'{"StreamARN":"arn:aws:kinesis:r:123456789012:stream/a"}')
    assert request.stream_arn == "arn:aws:kinesis:r:123456789012:stream/a"
    assert request.max_results is None
    assert attribute("MaxRecordSizeInKiB") == "max_record_size_in_ki_b"


@pytest.mark.parametrize("content_type", [JSON, CBOR])
def test_an_operation_that_no_model_has(content_type: str) -> None:
    with pytest.raises(UnknownOperation):
        protocol("kinesis").decode("MakeTea", content_type, b"{}")


def test_models_are_read_once() -> None:
    assert load("kinesis") is load("kinesis")
    assert protocol("kinesis") is protocol("kinesis")
    assert protocol("kinesis").target_prefix == "Kinesis_20131202"
    assert protocol("firehose").target_prefix == "Firehose_20150804"
    assert {"PutRecords", "SubscribeToShard", "UpdateShardCount"} <= protocol("kinesis").operations
