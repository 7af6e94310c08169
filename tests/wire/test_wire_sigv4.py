"""Signatures: botocore's signers are the oracle, in both directions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.errors import (
    ExpiredToken,
    IncompleteSignature,
    InvalidSignature,
    MissingAuthenticationToken,
    RequestError,
    UnrecognizedClient,
)
from streams.wire import canonical, sigv4

KEYS = {"AKIDEXAMPLE": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "123456789012": "secret é"}
NOW_MS = 1_795_465_552_532
TIME = "20261123T202552Z"
SECRETS = {key: sigv4.Secret(secret) for key, secret in KEYS.items()}
MISMATCH = "The request signature we calculated does not match"

safe = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=8)
paths = st.lists(safe | st.sampled_from(["", ".", "..", "a b", "~", "%2F"]), max_size=4).map(
    lambda parts: "/" + "/".join(quote(part, safe="%~.") for part in parts)
)
queries = st.lists(st.tuples(safe, safe), max_size=3).map(
    lambda pairs: "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
)
headers = st.dictionaries(
    st.from_regex(r"\Ax-[a-z]{1,8}\Z"),
    st.text(st.characters(min_codepoint=33, max_codepoint=126) | st.sampled_from("  \té☃"), max_size=12),
    max_size=3,
)


@pytest.fixture(autouse=True)
def _time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.fromtimestamp(NOW_MS // 1000, UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_: now)


def on_the_wire(request: Any) -> tuple[str, dict[str, str]]:
    """Path with query, and headers as a server sees them: lower-case names, UTF-8 bytes read as Latin-1."""
    parts = urlsplit(request.url)
    seen = {name.lower(): value.encode().decode("latin-1").strip(" \t") for name, value in request.headers.items()}
    seen.setdefault("host", parts.netloc)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), seen


def signed(
    auth: Any = SigV4Auth,
    url: str = "http://127.0.0.1:4567/",
    body: bytes = b"{}",
    sent: dict[str, str] | None = None,
    key: str = "AKIDEXAMPLE",
    token: str | None = None,
    **options: Any,
) -> tuple[str, dict[str, str]]:
    request = AWSRequest("POST", url, headers=sent or {}, data=body)
    auth(Credentials(key, KEYS[key], token), "kinesis", "eu-west-1", **options).add_auth(request)
    return on_the_wire(request)


def verified(
    target: str, seen: dict[str, str], body: bytes = b"{}", now_ms: int = NOW_MS, token: str | None = None
) -> sigv4.Credential:
    secrets = {key: sigv4.Secret(secret, token or "") for key, secret in KEYS.items()}
    return sigv4.verify("POST", target, seen, body, secrets.get, now_ms, "kinesis")


@settings(max_examples=300)
@given(
    path=paths,
    query=queries,
    sent=headers,
    body=st.binary(),
    key=st.sampled_from(sorted(KEYS)),
    token=st.none() | st.just("t/+="),
)
def test_what_botocore_signs_is_verified(
    path: str, query: str, sent: dict[str, str], body: bytes, key: str, token: str | None
) -> None:
    url = f"http://127.0.0.1:4567{path}{'?' if query else ''}{query}"
    target, seen = signed(url=url, body=body, sent=sent, key=key, token=token)
    assert verified(target, seen, body, token=token) == sigv4.Credential(key, "20261123", "eu-west-1", "kinesis")
    with pytest.raises(UnrecognizedClient):
        verified(target, seen, body, token=f"{token or ''}x")


@settings(max_examples=100)
@given(path=paths, expires=st.integers(1, 604800))
def test_what_botocore_presigns_is_verified(path: str, expires: int) -> None:
    # The query signer moves a body into the query, so a presigned request has none.
    target, seen = signed(SigV4QueryAuth, url=f"http://127.0.0.1:4567{path}", body=b"", expires=expires)
    assert verified(target, seen, b"").access_key == "AKIDEXAMPLE"
    assert verified(target, seen, b"", NOW_MS + expires * 1000 - 532).region == "eu-west-1"
    with pytest.raises(InvalidSignature, match="Signature expired"):
        verified(target, seen, b"", NOW_MS + expires * 1000 + 1000)
    assert sigv4.scope_of(seen, target) == sigv4.Credential("AKIDEXAMPLE", "20261123", "eu-west-1", "kinesis")


@settings(max_examples=100)
@given(path=paths, query=queries, body=st.binary())
def test_what_we_sign_is_what_botocore_signs(path: str, query: str, body: bytes) -> None:
    target = f"{path}{'?' if query else ''}{query}"
    sent = {"host": "127.0.0.1:4567", "x-amz-target": "Kinesis_20131202.ListStreams", "content-type": "a  b"}
    ours = sigv4.sign(
        "POST",
        target,
        sent,
        body,
        access_key="AKIDEXAMPLE",
        secret_key=KEYS["AKIDEXAMPLE"],
        region="eu-west-1",
        service="kinesis",
        now_ms=NOW_MS,
    )
    _, theirs = signed(url=f"http://127.0.0.1:4567{target}", body=body, sent=sent)
    assert ours == theirs
    assert verified(target, ours, body).region == "eu-west-1"


@settings(max_examples=100)
@given(data=st.data())
def test_anything_changed_is_noticed(data: st.DataObject) -> None:
    sent = {"X-Amz-Target": "Kinesis_20131202.PutRecord", "Content-Type": "application/x-amz-json-1.1"}
    target, seen = signed(url="http://127.0.0.1:4567/a?b=c", sent=sent)
    change = data.draw(st.sampled_from(["target", "body", "method", "secret", *sorted(seen)]))
    body, method, secret_of = b"{}", "POST", SECRETS.get
    match change:
        case "target":
            target = "/a?b=d"
        case "body":
            body = b"{ }"
        case "method":
            method = "PUT"
        case "secret":
            secret_of = {"AKIDEXAMPLE": sigv4.Secret("another")}.get
        case "authorization":
            seen[change] = seen[change][:-1] + ("0" if seen[change][-1] != "0" else "1")
        case "x-amz-date":
            seen[change] = "20261123T202553Z"
        case _:
            seen[change] += "x"
    with pytest.raises(InvalidSignature, match=MISMATCH):
        sigv4.verify(method, target, seen, body, secret_of, NOW_MS)


@pytest.mark.parametrize("auth", [SigV4Auth, SigV4QueryAuth])
def test_temporary_keys_end(auth: Any) -> None:
    body = b"{}" if auth is SigV4Auth else b""
    target, seen = signed(auth, body=body, token="t/+=")
    for ends_ms in (NOW_MS, NOW_MS + 1):
        secrets = {"AKIDEXAMPLE": sigv4.Secret(KEYS["AKIDEXAMPLE"], "t/+=", ends_ms)}
        if ends_ms > NOW_MS:
            assert sigv4.verify("POST", target, seen, body, secrets.get, NOW_MS).access_key == "AKIDEXAMPLE"
        else:
            with pytest.raises(ExpiredToken, match="token included in the request is expired"):
                sigv4.verify("POST", target, seen, body, secrets.get, NOW_MS)


def test_a_mismatch_tells_what_should_have_been_signed() -> None:
    target, seen = signed()
    wrong = {**seen, "authorization": seen["authorization"].replace("Signature=", "Signature=0")}
    with pytest.raises(InvalidSignature) as raised:
        verified(target, wrong)
    canonical_text = raised.value.message.partition("should have been\n'")[2].partition("'\n\nThe String-to-Sign")[0]
    assert canonical_text.startswith("POST\n/\n\nhost:127.0.0.1:4567\n")
    assert "AWS4-HMAC-SHA256\n20261123T202552Z\n20261123/eu-west-1/kinesis/aws4_request\n" in raised.value.message


@settings(max_examples=200)
@given(
    authorization=st.text()
    | st.text().map(lambda text: f"AWS4-HMAC-SHA256 Credential={text}, SignedHeaders=a, Signature=b"),
    date=st.text() | st.sampled_from([TIME, "Mon, 23 Nov 2026 20:25:52 GMT", "99999999T999999Z"]),
    query=st.text() | st.just("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=%ff/a/b/c/d"),
)
def test_nonsense_is_refused_and_never_fails(authorization: str, date: str, query: str) -> None:
    seen = {"host": "a", "authorization": authorization, "x-amz-date": date}
    with pytest.raises(RequestError):
        verified(f"/?{query}", seen)
    sigv4.scope_of(seen, f"/?{query}")


def refused(kind: type[RequestError], target: str, seen: dict[str, str], now_ms: int = NOW_MS) -> str:
    with pytest.raises(kind) as error:
        verified(target, seen, now_ms=now_ms)
    assert type(error.value) is kind
    return error.value.message


def test_no_signature() -> None:
    assert refused(MissingAuthenticationToken, "/", {}) == "Missing Authentication Token"
    assert refused(MissingAuthenticationToken, "/?X-Amz-Credential=a&X-Amz-Signature=b", {})
    assert sigv4.scope_of({}) is None


def test_both_kinds_of_signature() -> None:
    assert refused(InvalidSignature, "/?X-Amz-Algorithm", {"authorization": "X"}) == (
        "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."
    )


@pytest.mark.parametrize("header", ["X", "AWS4- Signature=b Credential=a", "AWS4- Signature=b,Credential=a"])
def test_parts_of_the_header_that_are_missing(header: str) -> None:
    message = refused(IncompleteSignature, "/", {"authorization": header})
    parts = ["Credential", "Signature", "SignedHeaders"] if header == "X" else ["SignedHeaders"]
    assert message == (
        "".join(f"Authorization header requires '{part}' parameter. " for part in parts)
        + "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
        + f"Authorization={header}"
    )


def test_parts_of_the_query_that_are_missing() -> None:
    assert refused(IncompleteSignature, "/?X-Amz-Algorithm", {}) == (
        "AWS query-string parameters must include 'X-Amz-Algorithm'. "
        "AWS query-string parameters must include 'X-Amz-Credential'. "
        "AWS query-string parameters must include 'X-Amz-Signature'. "
        "AWS query-string parameters must include 'X-Amz-SignedHeaders'. "
        "AWS query-string parameters must include 'X-Amz-Date'. "
        "Re-examine the query-string parameters."
    )


def test_an_access_key_that_nobody_knows() -> None:
    target, seen = signed()
    seen["authorization"] = seen["authorization"].replace("AKIDEXAMPLE", "AKIDOTHER")
    assert refused(UnrecognizedClient, target, seen) == "The security token included in the request is invalid."


def test_clocks_may_differ_by_five_minutes() -> None:
    target, seen = signed()
    second = NOW_MS // 1000 * 1000
    assert verified(target, seen, now_ms=second + 300_000)
    assert verified(target, seen, now_ms=second - 300_000)
    assert refused(InvalidSignature, target, seen, second + 301_000) == (
        f"Signature expired: {TIME} is now earlier than 20261123T202553Z (20261123T203053Z - 5 min.)"
    )
    assert refused(InvalidSignature, target, seen, second - 301_000) == (
        f"Signature not yet current: {TIME} is still later than 20261123T202551Z (20261123T202051Z + 5 min.)"
    )


def test_the_credential_scope() -> None:
    target, seen = signed()
    header = seen["authorization"]
    seen["authorization"] = header.replace("/kinesis/", "/firehose/")
    assert "correct service: 'kinesis'" in refused(InvalidSignature, target, seen)
    seen["authorization"] = header.replace("/20261123/", "/20261122/")
    assert "'20261122' != '20261123'" in refused(InvalidSignature, target, seen)
    seen["authorization"] = header.replace("aws4_request", "aws5_request")
    assert "valid terminator" in refused(InvalidSignature, target, seen)
    seen["authorization"] = header.replace("/kinesis/aws4_request", "")
    assert "exactly 5 slash-delimited elements" in refused(IncompleteSignature, target, seen)
    seen["authorization"] = header.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-MD5")
    assert "AWS4-HMAC-MD5" in refused(IncompleteSignature, target, seen)


def test_what_must_be_signed() -> None:
    target, seen = signed()
    assert "X-Amz-Target" in refused(
        InvalidSignature, target, {**seen, "x-amz-target": "Kinesis_20131202.DeleteStream"}
    )
    seen["authorization"] = seen["authorization"].replace("host;", "")
    assert "Host" in refused(InvalidSignature, target, seen)


def test_a_digest_that_is_not_the_bodys() -> None:
    target, seen = signed(sent={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    assert MISMATCH in refused(InvalidSignature, target, seen)


def test_the_date_may_stand_in_the_header_date() -> None:
    # Some agents sign the header Date; the time under the signature is its ISO form.
    sent = {"host": "a", "date": "Mon, 23 Nov 2026 20:25:52 GMT"}
    digest_signed = sigv4.sign(
        "POST",
        "/",
        sent,
        b"{}",
        access_key="AKIDEXAMPLE",
        secret_key=KEYS["AKIDEXAMPLE"],
        region="eu-west-1",
        service="kinesis",
        now_ms=NOW_MS,
    )
    assert verified("/", digest_signed).access_key == "AKIDEXAMPLE"
    without = {name: value for name, value in digest_signed.items() if name != "x-amz-date"}
    assert MISMATCH in refused(InvalidSignature, "/", without)


def test_derived_keys_are_remembered_and_bounded() -> None:
    canonical.signing_key.cache_clear()
    target, seen = signed()
    for _ in range(3):
        verified(target, seen)
    info = canonical.signing_key.cache_info()
    assert (info.misses, info.maxsize) == (1, canonical.SIGNING_KEYS_MAX)
