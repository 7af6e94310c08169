"""Values of a shape: any of them for hypothesis, a plain one for a start, wrong ones each with the constraint it breaks."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import cbor2
from hypothesis import strategies as st

from streams.wire.eventstream import streams_events
from streams.wire.model import Shape, load
from streams.wire.patterns import compiled, python
from streams.wire.types import value_bounds

KINESIS = sorted(name for name, operation in load("kinesis").operations.items() if not streams_events(operation))
FIREHOSE = [
    "CreateDeliveryStream",
    "DeleteDeliveryStream",
    "DescribeDeliveryStream",
    "ListDeliveryStreams",
    "PutRecord",
    "PutRecordBatch",
]
OPERATIONS = [("kinesis", name) for name in KINESIS] + [("firehose", name) for name in FIREHOSE]

SAMPLES = (
    "",
    "000000000000",
    "arn:aws:s3:::abc",
    "arn:aws:s3tables:us-east-1:000000000000:bucket/abc",
    "arn:aws:kinesis:us-east-1:000000000000:channel/a",
    "arn:aws:kinesis:us-east-1:000000000000:queue/a",
    "arn:aws:es:us-east-1:000000000000:domain/abc",
    "arn:aws:glue:us-east-1:000000000000:schema/a/b",
    "jdbc:redshift://a.redshift.example:5439/b",
    "account.snowflakecomputing.com",
    "s3://a",
    "a",
    "0",
    "aaaaaaaaaaaaaaaaaaaa-aaa",
    "arn:aws:kinesis:us-east-1:000000000000:stream/a",
    "arn:aws:kinesis:us-east-1:000000000000:stream/a/consumer/b:1",
    "arn:aws:iam::000000000000:role/a",
    "arn:aws:lambda:us-east-1:000000000000:function:a",
    "arn:aws:kms:us-east-1:000000000000:key/a",
    "arn:aws:glue:us-east-1:000000000000:catalog",
    "arn:aws:kafka:us-east-1:000000000000:cluster/a",
    "arn:aws:secretsmanager:us-east-1:000000000000:secret:a",
    "https://a.example",
    "https://a.example:443",
    "a-b",
    "1",
    "vpce-svc-0",
    "com.amazonaws.vpce.us-east-1.vpce-svc-01234567890123456",
    "11111111-1111-1111-1111-111111111111",
    "-----BEGIN PRIVATE KEY-----",
    "A" * 256,
)


def members(shape: Shape) -> dict[str, Shape]:
    return {name: inner for name, inner in shape.members.items() if not inner.eventstream}


def values(shape: Shape, depth: int = 0) -> st.SearchStrategy[Any]:
    """Valid values, blobs as bytes and timestamps as float seconds of whole milliseconds."""
    match shape.kind:
        case "structure":
            inner = {name: values(one, depth + 1) for name, one in members(shape).items()}
            required = {name: one for name, one in inner.items() if name in shape.required}
            optional = {name: one for name, one in inner.items() if name not in shape.required}
            return st.fixed_dictionaries(required, optional=optional if depth < 2 else {})
        case "list":
            assert shape.element is not None
            least = int(shape.min or 0)
            most = min(least + 3, int(least + 3 if shape.max is None else shape.max))
            return st.lists(values(shape.element, depth + 1), min_size=least, max_size=most)
        case "map":
            assert shape.element is not None
            assert shape.key is not None
            return st.dictionaries(
                values(shape.key, depth + 1), values(shape.element, depth + 1), min_size=int(shape.min or 0), max_size=3
            )
        case "string":
            return _strings(shape)
        case "blob":
            return st.binary(min_size=int(shape.min or 0), max_size=200)
        case "boolean":
            return st.booleans()
        case "integer" | "long":
            least, most = value_bounds(shape)
            return st.integers(int(least), int(most))
        case "float" | "double":
            least, most = value_bounds(shape)
            return st.floats(least, most, allow_nan=False)
        case "timestamp":
            return st.integers(-(10**12), 10**13).map(lambda ms: ms / 1000)


def _strings(shape: Shape) -> st.SearchStrategy[str]:
    if shape.enum:
        return st.sampled_from(shape.enum)
    least, most = int(shape.min or 0), 10**9 if shape.max is None else int(shape.max)
    if shape.pattern is None:
        return st.text(min_size=least, max_size=min(most, least + 30))
    search = compiled(shape.pattern).search
    fitting = [text for text in SAMPLES if search(text) and least <= len(text) <= most]
    free = st.from_regex(python(shape.pattern), alphabet=st.characters(codec="utf-8")).filter(
        lambda text: least <= len(text) <= most
    )
    return st.sampled_from(fitting) | free if fitting else free


def plain(shape: Shape) -> Any:
    """A valid value with nothing in it that need not be."""
    match shape.kind:
        case "structure":
            return {name: plain(shape.members[name]) for name in shape.required}
        case "list":
            assert shape.element is not None
            return [plain(shape.element)] * int(shape.min or 0)
        case "map":
            assert shape.element is not None
            assert shape.key is not None
            return {plain(shape.key): plain(shape.element)} if shape.min else {}
        case "string":
            if shape.enum:
                return shape.enum[0]
            if shape.pattern is None:
                return "a" * int(shape.min or 0)
            least, most = shape.min or 0, 10**9 if shape.max is None else shape.max
            return next(text for text in SAMPLES if compiled(shape.pattern).search(text) and least <= len(text) <= most)
        case "blob":
            return bytes(int(shape.min or 0))
        case "boolean":
            return True
        case "integer" | "long":
            return int(value_bounds(shape)[0])
        case "float" | "double":
            return float(value_bounds(shape)[0])
        case "timestamp":
            return 1.5


def wrong(shape: Shape) -> Iterator[tuple[Any, str]]:
    """Values that break one constraint or more of the shape itself, each with the words for one of them."""
    sized = {
        "string": lambda count: "a" * count,
        "blob": bytes,
        "list": lambda count: [plain(shape.element)] * count if shape.element else [],
        "map": lambda count: {str(index): plain(shape.element) for index in range(count)} if shape.element else {},
    }.get(shape.kind)
    if shape.enum:
        yield "no such value", "Member must satisfy enum value set: ["
    elif sized is not None:
        if shape.min:
            yield sized(int(shape.min) - 1), f"Member must have length greater than or equal to {shape.min}"
        if shape.max is not None and shape.max < 20_000_000:
            yield sized(int(shape.max) + 1), f"Member must have length less than or equal to {shape.max}"
        if shape.pattern is not None:
            bad = next((text for text in ("\x00", "\n", "☃") if not compiled(shape.pattern).search(text)), None)
            if bad is not None:
                yield bad, f"Member must satisfy regular expression pattern: {shape.pattern}"
    elif shape.kind in ("integer", "long", "double"):
        least, most = value_bounds(shape)
        if shape.min is not None:
            yield least - 1, f"Member must have value greater than or equal to {least}"
        if shape.max is not None:
            yield most + 1, f"Member must have value less than or equal to {most}"


def to_json(value: Any) -> Any:
    """Ready for a JSON encoder: blobs as base64."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {key: to_json(one) for key, one in value.items()}
        case list():
            return [to_json(one) for one in value]
        case _:
            return value


def to_cbor(shape: Shape, value: Any) -> Any:
    """Ready for a CBOR encoder: timestamps as tagged milliseconds."""
    match shape.kind:
        case "structure":
            return {name: to_cbor(shape.members[name], one) for name, one in value.items()}
        case "list":
            assert shape.element is not None
            return [to_cbor(shape.element, one) for one in value]
        case "map":
            assert shape.element is not None
            return {key: to_cbor(shape.element, one) for key, one in value.items()}
        case "timestamp":
            return cbor2.CBORTag(1, round(value * 1000))
        case _:
            return value


def from_request(value: Any) -> Any:
    """A decoded request as plain data under its wire names, absent members left out."""
    if hasattr(value, "__struct_fields__"):
        names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        found = {wire: getattr(value, name) for wire, name in names}
        return {wire: from_request(one) for wire, one in found.items() if one is not None}
    match value:
        case dict():
            return {key: from_request(one) for key, one in value.items()}
        case list():
            return [from_request(one) for one in value]
        case _:
            return value
