"""Java's patterns in Python."""

from __future__ import annotations

import pytest

from streams.wire.model import Shape, load
from streams.wire.patterns import compiled


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("[a-zA-Z0-9_.-]+", ["a", "A-1_."], ["", "a b", "a\n", "\na", "é"]),
        (r"0|([1-9]\d{0,38})", ["0", "19"], ["01", "1٣", "0 "]),
        (r"^[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$", ["", "straße ٣ 語", "a/b"], ["a\n", "☃", "{"]),
        (r"^(?!aws:)[\p{L}]*$", ["aws", "é"], ["aws:", "1"]),
        (r"\p{Print}+", ["a ~"], ["é", "\x7f", ""]),
        ("[\\u0020-\\uD7FF\\uE000-\\uFFFD\\uD800\\uDC00-\\uDBFF\\uDFFF\\t]*", ["a😀\t"], ["\n", "\x00"]),
        (r"^$|\.[a-z]+", ["", ".gz"], ["gz", "."]),
    ],
)
def test_the_whole_string_has_to_match(pattern: str, matching: list[str], other: list[str]) -> None:
    for text in matching:
        assert compiled(pattern).search(text), text
    for text in other:
        assert not compiled(pattern).search(text), text


@pytest.mark.parametrize("service", ["kinesis", "firehose", "kinesisanalytics", "lambda", "glue"])
def test_every_pattern_of_the_models_is_understood(service: str) -> None:
    seen: set[str] = set()

    def walk(shape: Shape) -> None:
        if shape.name in seen:
            return
        seen.add(shape.name)
        if shape.pattern is not None:
            compiled(shape.pattern)
        for inner in (*shape.members.values(), shape.element, shape.key):
            if inner is not None:
                walk(inner)

    for operation in load(service).operations.values():
        walk(operation.input)
    assert seen
