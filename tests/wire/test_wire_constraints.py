"""For every constraint in the models of the operations that we serve, a value that breaks it is refused in AWS's words."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_shapes import OPERATIONS, members, plain, to_cbor, to_json, wrong

from streams.core.errors import ValidationError
from streams.wire.model import Shape, load
from streams.wire.protocol import CBOR, JSON, protocol
from streams.wire.validate import ERRORS_MAX, VALUE_PRINT_MAX

ERROR = re.compile(
    r"(?:^|; )Value(?P<value>(?: null| '.*?'|)) at '(?P<path>[^']+)' failed to satisfy constraint: ", re.S
)
DEPTH_MAX = 5

Built = Callable[[Any], Any]


def breaks(
    shape: Shape, path: str = "", build: Built = lambda value: value, depth: int = 0
) -> Iterator[tuple[Any, str, str]]:
    """(request, path, words): each request has one member that breaks the constraint of these words."""
    if depth > DEPTH_MAX:
        return
    match shape.kind:
        case "structure":
            for name, inner in members(shape).items():
                there = f"{path}.{name[0].lower()}{name[1:]}".lstrip(".")
                if name in shape.required:
                    yield build({k: v for k, v in plain(shape).items() if k != name}), there, "Member must not be null"

                def wrap(value: Any, name: str = name) -> Any:
                    return build({**plain(shape), name: value})

                for value, words in wrong(inner):
                    yield wrap(value), there, words
                yield from breaks(inner, there, wrap, depth + 1)
        case "list":
            assert shape.element is not None
            good = [plain(shape.element)] * (max(int(shape.min or 0), 2) - 1)
            if shape.element.kind == "structure":
                yield from breaks(
                    shape.element, f"{path}.{len(good) + 1}.member", lambda value: build([*good, value]), depth + 1
                )
            else:
                for value, words in wrong(shape.element):
                    yield build([*good, value]), path, f"Member must satisfy constraint: [{words}"
        case "map":
            assert shape.element is not None
            assert shape.key is not None
            for value, words in wrong(shape.element):
                yield build({plain(shape.key): value}), path, f"Map value must satisfy constraint: [{words}"
            for key, words in wrong(shape.key):
                yield build({key: plain(shape.element)}), path, f"Map keys must satisfy constraint: [{words}"


def refused(service: str, operation: str, value: Any) -> str:
    """The message, the same in both encodings."""
    shape = load(service).operations[operation].input
    with pytest.raises(ValidationError) as in_json:
        protocol(service).decode(operation, JSON, json.dumps(to_json(value)).encode())
    with pytest.raises(ValidationError) as in_cbor:
        protocol(service).decode(operation, CBOR, cbor2.dumps(to_cbor(shape, value)))
    assert in_json.value.message == in_cbor.value.message
    return in_json.value.message


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_each_constraint_is_told(service: str, operation: str, caplog: pytest.LogCaptureFixture) -> None:
    shape = load(service).operations[operation].input
    cases = list(breaks(shape))
    with caplog.at_level(logging.ERROR):
        for value, path, words in cases:
            message = refused(service, operation, value)
            count, _, told = message.partition(" detected: ")
            places = [found["path"] for found in ERROR.finditer(told)]
            assert set(places) == {path}, message
            assert count == f"{len(places)} validation error{'s' if len(places) > 1 else ''}"
            words_listed = words.partition("[")[2] if ": [" in words and "enum" not in words else words
            assert words_listed in told, (words, message)
            assert len(message) < 10 * (VALUE_PRINT_MAX + 4000)
    assert not caplog.records
    assert cases or not shape.members or operation in ("ListStreams",)


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_all_are_told_at_once(service: str, operation: str) -> None:
    """Any choice of members, each broken in one way: as many errors, at their places, up to ten."""
    shape = load(service).operations[operation].input
    bad = {name: list(wrong(inner)) for name, inner in members(shape).items()}
    bad = {name: found for name, found in bad.items() if found}
    if not bad:
        return

    @settings(max_examples=15)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        chosen = data.draw(st.sets(st.sampled_from(sorted(bad)), min_size=1))
        value = plain(shape)
        words = {}
        for name in chosen:
            value[name], words[name] = data.draw(st.sampled_from(bad[name]))
        message = refused(service, operation, value)
        places = [found["path"] for found in ERROR.finditer(message.partition(" detected: ")[2])]
        assert message.startswith(f"{len(places)} validation error")
        assert len(places) <= ERRORS_MAX
        if len(places) < ERRORS_MAX:
            assert set(places) == {name[0].lower() + name[1:] for name in chosen}
            for name in chosen:
                assert words[name] in message

    check()
