"""Large batches are decoded and encoded faster than awslambdaric does it, and mean the same."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from typing import Any

import pytest
from awslambdaric.lambda_runtime_exception import FaultException
from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller
from hypothesis import given
from hypothesis import strategies as st

from connectors.functions.marshaller import SMALL, Marshaller, plain

PADDING = b" " * SMALL

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=20,
)


def large() -> Marshaller:
    """One that has just taken a large event."""
    marshaller = Marshaller()
    marshaller.unmarshal_request(b"{}" + PADDING)
    return marshaller


@given(VALUES)
def test_what_is_encoded_means_what_awslambdaric_means(value: Any) -> None:
    usual, kind = LambdaMarshaller().marshal_response(value)
    ours, our_kind = large().marshal_response(value)
    assert kind == our_kind
    assert repr(json.loads(usual)) == repr(json.loads(ours))


@given(VALUES.filter(lambda value: not any(word in repr(value) for word in ("nan", "inf"))))
def test_what_is_decoded_is_what_awslambdaric_decodes(value: Any) -> None:
    event = json.dumps(value).encode()
    assert repr(LambdaMarshaller().unmarshal_request(event)) == repr(Marshaller().unmarshal_request(event + PADDING))


@pytest.mark.parametrize("value", [{1}, dt.datetime(2023, 1, 1), {"a": object()}, 1j])
def test_what_awslambdaric_refuses_is_refused_with_its_words(value: Any) -> None:
    with pytest.raises(FaultException) as usual:
        LambdaMarshaller().marshal_response(value)
    with pytest.raises(FaultException) as ours:
        large().marshal_response(value)
    assert (ours.value.exception_type, ours.value.msg) == (usual.value.exception_type, usual.value.msg)


def test_what_awslambdaric_takes_beyond_json() -> None:
    assert large().marshal_response({"a": decimal.Decimal("1.50")}) == ('{"a": 1.50}', "application/json")
    assert large().marshal_response([b"raw"]) == ('["raw"]', "application/json")
    assert large().marshal_response(b"raw") == (b"raw", "application/unknown")
    assert large().marshal_response("\ud800") == ('"\\ud800"', "application/json")
    assert Marshaller().unmarshal_request(b"x" + PADDING, "text/plain") == b"x" + PADDING
    for event in (b"{", b"NaN"):
        with pytest.raises(FaultException, match="Unable to unmarshal input"):
            Marshaller().unmarshal_request(event + PADDING)


def test_small_events_are_awslambdarics_own_byte_for_byte() -> None:
    marshaller = Marshaller()
    assert marshaller.unmarshal_request(b'{"a": "\xc3\xa9"}') == {"a": "é"}
    assert marshaller.marshal_response({"a": "é"}) == LambdaMarshaller().marshal_response({"a": "é"})


def test_what_holds_itself_is_not_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.functions.marshaller.VALUES_MAX", 1000)
    value: list[Any] = []
    value.append(value)
    assert not plain(value)
    assert plain([[1.5, None, "x", True], {"a": ("b",)}])
    assert not plain([1 << 64])
