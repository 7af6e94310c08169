"""Golden cases, as data: `cases/SERVICE.OPERATION.toml` and `cases/transport.toml`. A new case is a few lines there."""

from __future__ import annotations

import base64
import json
import tomllib
from pathlib import Path
from typing import Any

import cbor2
import pytest
from wire_shapes import OPERATIONS, from_request, to_json

from streams.core.errors import (
    InternalFailure,
    RequestError,
    ResourceNotFound,
    SerializationError,
    ServiceUnavailable,
    request_errors,
)
from streams.wire import cbor
from streams.wire.protocol import CBOR, JSON, answer_type, classify, encode_error, parse_target, protocol

FOLDER = Path(__file__).parent / "cases"
PROTOCOLS = {protocol(service).target_prefix: protocol(service) for service in ("kinesis", "firehose")}


def cases(kind: str, pattern: str = "*.*.toml") -> list[Any]:
    found = []
    for path in sorted(FOLDER.glob(pattern)):
        for case in tomllib.loads(path.read_text()).get(kind, []):
            found.append(pytest.param(path.name.split(".")[:2], case, id=f"{path.stem}: {case['name']}"))
    return found


WRITTEN = {
    ("kinesis", name)
    for name in ("CreateStream", "DescribeStream", "GetRecords", "ListShards", "PutRecord", "PutRecords")
}
"""Operations whose cases must not get lost; the other ones are left to what is made from their shapes."""


def test_cases_are_of_operations_that_exist() -> None:
    found = {(path.name.split(".")[0], path.name.split(".")[1]) for path in FOLDER.glob("*.*.toml")}
    assert found <= set(OPERATIONS)
    assert found >= WRITTEN


@pytest.mark.parametrize(("where", "case"), cases("case"))
def test_request(where: list[str], case: dict[str, Any]) -> None:
    service, operation = where
    content_type = JSON if "body" in case else CBOR
    body = case["body"].encode() if "body" in case else bytes.fromhex(case["cbor"])
    if "request" in case:
        request = protocol(service).decode(operation, content_type, body)
        assert to_json(from_request(request)) == case["request"]
        return
    with pytest.raises(RequestError) as refused:
        protocol(service).decode(operation, content_type, body)
    assert (refused.value.code, refused.value.message) == (case["error"], case["message"])


def blobs(value: Any) -> Any:
    """``{blob = "aGVsbG8="}`` → bytes."""
    match value:
        case {"blob": text}:
            return base64.b64decode(text)
        case dict():
            return {key: blobs(one) for key, one in value.items()}
        case list():
            return [blobs(one) for one in value]
        case _:
            return value


@pytest.mark.parametrize(("where", "case"), cases("reply"))
def test_reply(where: list[str], case: dict[str, Any]) -> None:
    service, operation = where
    value = blobs(case["value"])
    assert protocol(service).encode(operation, JSON, value).decode() == case["json"]
    if "cbor" in case:
        assert protocol(service).encode(operation, CBOR, value) == bytes.fromhex(case["cbor"])
    if not value:
        assert protocol(service).encode(operation, JSON, None).decode() == case["json"]


@pytest.mark.parametrize(("where", "case"), cases("classify", "transport.toml"))
def test_transport(where: list[str], case: dict[str, Any]) -> None:
    method, headers, sent = case.get("method", "POST"), case.get("headers", {}), case.get("sent", "{}").encode()
    if "call" in case:
        call = classify(method, headers, sent, PROTOCOLS)
        assert [call.protocol.service, call.operation, call.content_type] == case["call"]
        return
    with pytest.raises(RequestError) as refused:
        classify(method, headers, sent, PROTOCOLS)
    body, answer_headers = encode_error(headers.get("content-type", ""), refused.value)
    assert refused.value.status == case["status"]
    assert answer_headers.get("Content-Type") == case.get("content_type")
    if "cbor" in case:
        assert body == bytes.fromhex(case["cbor"])
    else:
        assert body.decode() == case["body"]


@pytest.mark.parametrize("kind", request_errors().values(), ids=request_errors())
def test_errors_in_both_encodings(kind: type[RequestError]) -> None:
    error = kind("what went wrong")
    key = "Message" if kind is SerializationError else "message"
    told = {"__type": error.code, key: "what went wrong", **error.members}
    in_json, json_headers = encode_error(JSON, error)
    in_cbor, cbor_headers = protocol("kinesis").encode_error(CBOR, error)
    assert json.loads(in_json) == cbor2.loads(in_cbor) == told
    assert json_headers == {"x-amzn-ErrorType": error.code, "Content-Type": JSON}
    assert cbor_headers == {"x-amzn-ErrorType": error.code, "Content-Type": CBOR}
    assert error.status == {InternalFailure: 500, ServiceUnavailable: 503}.get(kind, 400)


def test_an_error_without_words() -> None:
    assert encode_error(JSON, ResourceNotFound(""))[0] == b'{"__type":"ResourceNotFoundException"}'


def test_targets() -> None:
    assert parse_target("Kinesis_20131202.PutRecords") == ("Kinesis_20131202", "PutRecords")
    assert parse_target("") == ("", "")
    assert parse_target("a.b.c") == ("a.b", "c")


def test_the_answer_has_the_requests_type() -> None:
    assert answer_type("Application/X-Amz-Json-1.1; charset=utf-8") == JSON
    assert answer_type(CBOR) == CBOR
    assert answer_type("") == CBOR


def test_a_timestamp_in_cbor_is_tagged_milliseconds_never_a_float() -> None:
    assert cbor2.dumps(cbor.milliseconds(1795465552.532)).hex() == "c11b000001a20a162294"
