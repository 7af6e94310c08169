"""Whatever comes in, a request or a RequestError comes out, and the two paths of decoding never disagree."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_shapes import OPERATIONS, members, plain, to_json

from streams.core.errors import RequestError, SerializationError
from streams.wire.model import load
from streams.wire.protocol import CBOR, JSON, check_body, classify, encode_error, protocol

PROTOCOLS = {protocol(service).target_prefix: protocol(service) for service in ("kinesis", "firehose")}

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["", "true", "NO", "AAAA", "AAA", "=+/=", "+/+=", "\x00", "a" * 600])
)
anything = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
cbor_only = (
    st.binary() | st.floats() | st.just(cbor2.undefined) | st.builds(cbor2.CBORTag, st.integers(0, 300), scalars)
)


def outcome(service: str, operation: str, content_type: str, body: bytes) -> str:
    error = refusal(lambda: protocol(service).decode(operation, content_type, body))
    if error is None:
        return "decoded"
    assert error.code in ("SerializationException", "ValidationException")
    encoded, headers = encode_error(content_type, error)
    assert headers["Content-Type"] == content_type
    assert encoded
    return error.code


def refusal(call: Callable[[], Any]) -> RequestError | None:
    try:
        call()
    except RequestError as error:
        return error
    return None


@pytest.mark.parametrize("content_type", [JSON, CBOR])
@settings(max_examples=300)
@given(which=st.sampled_from(OPERATIONS), body=st.binary(max_size=200))
def test_random_bytes(content_type: str, which: tuple[str, str], body: bytes) -> None:
    outcome(*which, content_type, body)
    refusal(lambda: check_body(content_type, body))


places = st.integers(0, 99)
"""Which member of an operation: one number is another member for each."""


@pytest.mark.parametrize("service", ["kinesis", "firehose"])
def test_wrong_values_anywhere(service: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each is given to every operation: drawing a value costs far more than decoding it."""
    operations = [
        (operation, plain(shape), sorted(members(shape)) or [""])
        for of, operation in OPERATIONS
        if of == service
        for shape in [load(service).operations[operation].input]
    ]

    @settings(max_examples=200)
    @given(st.dictionaries(places | st.text(), anything, max_size=3), st.dictionaries(places, cbor_only, max_size=2))
    def check(anywhere: dict[int | str, Any], of_cbor: dict[int | str, Any]) -> None:
        for operation, valid, names in operations:
            changes = _of_members(names, anywhere)
            outcome(service, operation, JSON, json.dumps(to_json(valid) | changes).encode())
            changes |= _of_members(names, of_cbor)
            outcome(service, operation, CBOR, cbor2.dumps(valid | changes))

    with caplog.at_level(logging.ERROR):
        check()
    assert not caplog.records, caplog.text


def _of_members(names: list[str], changes: dict[int | str, Any]) -> dict[str, Any]:
    return {names[place % len(names)] if isinstance(place, int) else place: value for place, value in changes.items()}


@settings(max_examples=200)
@given(data=st.data(), content_type=st.sampled_from([JSON, CBOR]))
def test_bytes_that_were_damaged(data: st.DataObject, content_type: str) -> None:
    records = [{"Data": b"\x00\x01\x02", "PartitionKey": "k"}] * 3
    value: dict[str, Any] = {"StreamName": "flights", "Records": records}
    body = bytearray(json.dumps(to_json(value)).encode() if content_type == JSON else cbor2.dumps(value))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    outcome("kinesis", "PutRecords", content_type, bytes(body[: data.draw(st.integers(0, len(body)))]))


HOSTILE = {
    "deep lists": (JSON, b'{"StreamName":' + b"[" * 1_000_000),
    "deep lists, closed": (JSON, b'{"StreamName":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "deep maps": (JSON, b'{"a":' * 200_000),
    "deep, in a member that nobody knows": (JSON, b'{"x":' * 200_000 + b"1" + b"}" * 200_000),
    "not a number": (JSON, b'{"ShardCount":NaN}'),
    "a number that no double reaches": (JSON, b'{"ShardCount":1e999}'),
    "invalid UTF-8": (JSON, b'{"StreamName":"\xff"}'),
    "half a surrogate pair": (JSON, b'{"StreamName":"\\ud800"}'),
    "two values": (JSON, b"{} {}"),
    "a scalar": (JSON, b"5"),
    "null": (JSON, b"null"),
    "cut": (JSON, b'{"StreamName":"a"'),
    "deep arrays": (CBOR, b"\x81" * 1_000_000),
    "deep arrays without end": (CBOR, b"\x9f" * 1_000_000),
    "deep tags": (CBOR, b"\xc6" * 1_000_000),
    "an array said to be huge": (CBOR, b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff"),
    "a map said to be huge": (CBOR, b"\xbb\x7f\xff\xff\xff\xff\xff\xff\xff"),
    "text said to be huge": (CBOR, b"\x7b\x7f\xff\xff\xff\xff\xff\xff\xff"),
    "bytes said to be huge": (CBOR, b"\x5b\x00\x00\x00\xff\xff\xff\xff\xff"),
    "a big float": (CBOR, cbor2.dumps({"ShardCount": cbor2.CBORTag(5, [10**9, 1])})),
    "a big integer": (CBOR, cbor2.dumps({"ShardCount": 10**30})),
    "a pattern": (CBOR, cbor2.dumps({"StreamName": cbor2.CBORTag(35, "(a+)+$")})),
    "a reference into itself": (CBOR, bytes.fromhex("d81c81d81d00")),
    "invalid UTF-8 in CBOR": (CBOR, b"\xa1\x6aStreamName\x61\xff"),
    "a date": (CBOR, cbor2.dumps({"StreamName": cbor2.CBORTag(0, "2013-03-21T20:04:00Z")})),
    "numbers as keys": (CBOR, cbor2.dumps({1: 2, (1, 2): 3})),
    "undefined": (CBOR, cbor2.dumps({"StreamName": cbor2.undefined})),
    "a stray end": (CBOR, b"\xff"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies(name: str) -> None:
    content_type, body = HOSTILE[name]
    with pytest.raises(SerializationError):
        protocol("kinesis").decode("CreateStream", content_type, body)


def test_a_hostile_string_costs_little_and_is_not_repeated() -> None:
    body = json.dumps({"StreamARN": "arn:aws" + ":kinesis::000000000000:stream" * 200_000}).encode()
    with pytest.raises(RequestError) as refused:
        protocol("kinesis").decode("DescribeStreamSummary", JSON, body)
    assert len(refused.value.message) < 10_000


@settings(max_examples=200)
@given(
    method=st.sampled_from(["POST", "GET", "PUT"]),
    content_type=st.sampled_from([JSON, CBOR, "", "text/plain", JSON + "; charset=utf-8"]) | st.text(),
    target=st.sampled_from(["", "Kinesis_20131202.ListStreams", "Kinesis_20131202.X", "Y.ListStreams", "."])
    | st.text(),
    body=st.sampled_from([b"", b"{}", b"\xa0", b"hello"]) | st.binary(),
)
def test_classification_answers_or_refuses(method: str, content_type: str, target: str, body: bytes) -> None:
    headers = {"content-type": content_type, "x-amz-target": target}
    error = refusal(lambda: classify(method, headers, body, PROTOCOLS))
    if error is not None:
        encoded, answer_headers = encode_error(content_type, error)
        assert encoded
        assert answer_headers["x-amzn-ErrorType"] == error.code
        return
    call = classify(method, headers, body, PROTOCOLS)
    assert call.operation in call.protocol.operations
    assert call.content_type in (JSON, CBOR)


def test_a_list_far_too_long_costs_little() -> None:
    records = [{"Data": "", "PartitionKey": ""}] * 200_000
    with pytest.raises(RequestError) as refused:
        protocol("kinesis").decode("PutRecords", JSON, json.dumps({"StreamName": "a", "Records": records}).encode())
    assert "at 'records' failed to satisfy constraint: Member must have length less than or equal to 500; " in (
        refused.value.message
    )
    assert len(refused.value.message) < 10_000
