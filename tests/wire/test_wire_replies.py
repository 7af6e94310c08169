"""Replies made from the shapes: botocore reads from our JSON what was meant, and CBOR says the same as JSON."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import botocore.model
import botocore.parsers
import botocore.session
import cbor2
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_shapes import OPERATIONS, to_json, values

from streams.core.errors import ResourceNotFound, SerializationError
from streams.wire import cbor, columns
from streams.wire.model import load
from streams.wire.protocol import CBOR, JSON, encode_error, protocol

_LIST = load("kinesis").operations["GetRecords"].output.members["Records"]
RECORD = _LIST.element


class Record(msgspec.Struct):
    SequenceNumber: str
    ApproximateArrivalTimestamp: float
    Data: bytes
    PartitionKey: str


def parsed(service: str, operation: str, status: int, body: bytes, headers: dict[str, str]) -> Any:
    raw = botocore.session.get_session().get_component("data_loader").load_service_model(service, "service-2")
    output = botocore.model.ServiceModel(raw, service).operation_model(operation).output_shape
    return botocore.parsers.create_parser("json").parse(
        {"status_code": status, "headers": headers, "body": body}, output
    )


def milliseconds(value: Any) -> Any:
    match value:
        case datetime():
            return round(value.timestamp() * 1000) / 1000
        case dict():
            return {key: milliseconds(one) for key, one in value.items()}
        case list():
            return [milliseconds(one) for one in value]
        case _:
            return value


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_replies_read_back(service: str, operation: str) -> None:
    shape = load(service).operations[operation].output
    target = protocol(service)
    if shape is None:
        assert target.encode(operation, JSON, {}) == target.encode(operation, CBOR, None) == b""
        return

    @settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(value=values(shape))
    def check(value: Any) -> None:
        in_json = target.encode(operation, JSON, value)
        read = parsed(service, operation, 200, in_json, {})
        read.pop("ResponseMetadata")
        assert milliseconds(read) == value
        assert cbor.plain(target.encode(operation, CBOR, value)) == value
        assert json.loads(in_json) == to_json(value)

    check()


@pytest.mark.parametrize("content_type", [JSON, CBOR])
def test_structs_and_dicts_encode_alike(content_type: str) -> None:
    record = Record("49", 1795465552.532, b"\x00\xff", "k")
    as_struct = {"Records": [record, record], "NextShardIterator": "A", "MillisBehindLatest": 5}
    as_dict = {**as_struct, "Records": [msgspec.structs.asdict(record)] * 2}
    target = protocol("kinesis")
    encoded = target.encode("GetRecords", content_type, as_struct)
    assert encoded == target.encode("GetRecords", content_type, as_dict)
    # The reply belongs to the caller, who may encode it again.
    assert record.ApproximateArrivalTimestamp == as_dict["Records"][0]["ApproximateArrivalTimestamp"] == 1795465552.532
    assert encoded == target.encode("GetRecords", content_type, as_dict)


@pytest.mark.parametrize(
    "error", [ResourceNotFound("Stream a under account 0 not found."), SerializationError("Expected null")]
)
def test_botocore_reads_our_errors(error: Any) -> None:
    body, headers = encode_error(JSON, error)
    read = parsed("kinesis", "GetRecords", error.status, body, headers)
    assert read["Error"] == {"Code": error.code, "Message": error.message}


MEMBERS = {"SequenceNumber": "49", "ApproximateArrivalTimestamp": 1.5, "Data": b"x", "PartitionKey": "k"}
ODD = [
    {**MEMBERS, "EncryptionType": "KMS"},
    {"Data": b"x", "PartitionKey": "k"},
    {**MEMBERS, "ApproximateArrivalTimestamp": -1.5},
    {**MEMBERS, "ApproximateArrivalTimestamp": 10**6},
    dict(reversed(MEMBERS.items())),
]


@settings(max_examples=50)
@given(
    rows=st.lists(values(RECORD), min_size=columns.COUNT_MIN, max_size=40),
    alike=st.booleans(),
    odd=st.none() | st.tuples(st.integers(0, 15), st.sampled_from(ODD)),
)
def test_many_records_encode_like_few(rows: list[Any], alike: bool, odd: Any) -> None:
    if alike:
        rows = [MEMBERS | {name: value for name, value in row.items() if name in MEMBERS} for row in rows]
    if odd is not None:
        rows[odd[0]] = odd[1]
    reply = {"NextShardIterator": "A", "Records": rows, "MillisBehindLatest": 5}
    assert cbor.plain(protocol("kinesis").encode("GetRecords", CBOR, reply)) == reply


def test_many_records_are_bytes_of_the_same_kind_as_few() -> None:
    record = Record("49" * 28, 1795465552.532, bytes(1000), "ké")
    few = protocol("kinesis").encode("GetRecords", CBOR, {"Records": [record]})
    many = protocol("kinesis").encode("GetRecords", CBOR, {"Records": [record] * 300})
    # a1, the key, an array's head of one and of three bytes.
    assert many == few[:9] + b"\x99\x01\x2c" + few[10:] * 300


@pytest.mark.parametrize("blob", ["text", None, 5])
def test_a_blob_that_is_none_is_no_silent_blob(blob: Any) -> None:
    reply = {"Records": [{**MEMBERS, "Data": b"x"}] * 20 + [{**MEMBERS, "Data": blob}]}
    assert cbor.plain(protocol("kinesis").encode("GetRecords", CBOR, reply)) == reply


@pytest.mark.parametrize("count", [0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32])
def test_heads(count: int) -> None:
    assert columns.head(0, count) == cbor2.dumps(count)
