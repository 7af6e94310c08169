"""AWS Signature Version 4: verify what callers signed, and sign what we send. No I/O, no clock of its own.

A request carries, in the header Authorization or in its query (presigned)::

    AWS4-HMAC-SHA256 Credential=AKID/20261125/us-east-1/kinesis/aws4_request, SignedHeaders=host;x-amz-date, Signature=…

and the signature is an HMAC over the canonical request: method, path, sorted query, the signed headers, and the body's
SHA-256. Header names are lower-case everywhere here, and values are decoded as Latin-1, as HTTP has them. Errors and
their texts are AWS's.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from streams.core.errors import (
    ExpiredToken,
    IncompleteSignature,
    InvalidSignature,
    MissingAuthenticationToken,
    UnrecognizedClient,
)
from streams.wire.canonical import (
    ALGORITHM,
    TERMINATOR,
    Credential,
    canonical_query,
    canonical_query_again,
    canonical_request,
    scope,
    signature,
    string_to_sign,
)

SKEW_MS_MAX = 5 * 60 * 1000
"""How far a caller's clock may be from ours, as at AWS."""

EXPIRES_S_MAX = 7 * 24 * 3600
"""How long a presigned request may be good for, as at AWS."""

_HEADER_PARTS = ("Credential", "Signature", "SignedHeaders")
_QUERY_PARTS = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details.\n\nThe Canonical String for this request should "
    "have been\n'{canonical}'\n\nThe String-to-Sign should have been\n'{to_sign}'\n"
)
_UNKNOWN = "The security token included in the request is invalid."
_BASIC = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_REMEMBERED_MAX = 1024
"""Characters of an Authorization header that is remembered."""
_PROOF = re.compile("[0-9a-f]{64}")
_DATE_TIME = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Secret:
    """What is known of an access key. A temporary one has a `token`, empty for others, and may end."""

    key: str
    token: str = ""
    expires_ms: int | None = None


class _Claim(NamedTuple):
    """What a request says of its own signature. `token` is the session token, empty where there is none."""

    credential: Credential
    signed_headers: tuple[str, ...]
    signature: str
    time: str
    expires_s: int | None
    query: str
    token: str


def scope_of(headers: Mapping[str, str], target: str = "") -> Credential | None:
    """The credential that a request names, unverified; None where it names none that can be read."""
    header = headers.get("authorization", "")
    text = _authorization(header).get("Credential", "")
    if not text and "X-Amz-Credential" in target:
        text = _query_values(target.partition("?")[2]).get("X-Amz-Credential", "")
    parts = text.rsplit("/", 4)
    return Credential(*parts[:4]) if len(parts) == 5 else None


def verify(
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    secret_of: Callable[[str], Secret | None],
    now_ms: int,
    service: str | None = None,
) -> Credential:
    """The credential of a request whose signature is right.

    `target` is path and query as sent. `secret_of` gives the secret key of an access key id, None for one that is not
    known. With `service`, the signature must be for that service. Raises `MissingAuthenticationToken`,
    `IncompleteSignature`, `UnrecognizedClient`, `ExpiredToken`, `InvalidSignature`.
    """
    claim = _claim(target, headers)
    secret = secret_of(claim.credential.access_key)
    if secret is None or secret.token != claim.token:
        raise UnrecognizedClient(_UNKNOWN)
    if secret.expires_ms is not None and secret.expires_ms <= now_ms:
        raise ExpiredToken("The security token included in the request is expired")
    _check_scope(claim, service)
    _check_time(claim, now_ms)
    _check_signed(claim, headers)
    digest = hashlib.sha256(body).hexdigest()
    path = target.partition("?")[0]
    queries: tuple[str, ...] = ("",)
    if claim.query:
        queries = tuple(dict.fromkeys((canonical_query(claim.query), canonical_query_again(claim.query))))
    for query in queries:
        canonical = canonical_request(method, path, query, headers, claim.signed_headers, digest)
        expected = signature(secret.key, claim.credential, claim.time, canonical)
        if claim.signature.isascii() and hmac.compare_digest(expected, claim.signature):
            if headers.get("x-amz-content-sha256", digest) == digest:
                return claim.credential
            break
    canonical = canonical_request(method, path, queries[0], headers, claim.signed_headers, digest)
    told = string_to_sign(claim.credential, claim.time, canonical)
    raise InvalidSignature(_MISMATCH.format(canonical=canonical.decode("latin-1"), to_sign=told))


def sign(
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    access_key: str,
    secret_key: str,
    region: str,
    service: str,
    now_ms: int,
) -> dict[str, str]:
    """The headers (lower-case names, `host` among them) with ``x-amz-date`` and ``authorization`` added."""
    time = datetime.fromtimestamp(now_ms // 1000, UTC).strftime(_DATE_TIME)
    signed = {**headers, "x-amz-date": time}
    signed.pop("authorization", None)
    names = tuple(sorted(signed))
    credential = Credential(access_key, time[:8], region, service)
    path, _, query = target.partition("?")
    digest = hashlib.sha256(body).hexdigest()
    canonical = canonical_request(method, path, canonical_query(query), signed, names, digest)
    signed["authorization"] = (
        f"{ALGORITHM} Credential={access_key}/{scope(credential)}, SignedHeaders={';'.join(names)}, "
        f"Signature={signature(secret_key, credential, time, canonical)}"
    )
    return signed


# What the request claims ----------------------------------------------------------------------------------------------


def _claim(target: str, headers: Mapping[str, str]) -> _Claim:
    query = target.partition("?")[2]
    values = _query_values(query) if "X-Amz-Algorithm" in query else {}
    header = headers.get("authorization", "")
    presigned = "X-Amz-Algorithm" in values
    if header and presigned:
        raise InvalidSignature(
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."
        )
    if presigned:
        return _claim_of_query(query, values)
    if header:
        return _claim_of_header(query, header, headers)
    raise MissingAuthenticationToken("Missing Authentication Token")


def _claim_of_header(query: str, header: str, headers: Mapping[str, str]) -> _Claim:
    date = headers.get("x-amz-date") or headers.get("date")
    before, found, proof = header.rpartition("Signature=")
    if found and date and len(before) < _REMEMBERED_MAX and _PROOF.fullmatch(proof):
        named = _named(before)
        if named is not None:
            token = headers.get("x-amz-security-token", "")
            return _Claim(*named, proof, _time(date), None, query, token)
    parts = _authorization(header)
    missing = [f"Authorization header requires '{part}' parameter. " for part in _HEADER_PARTS if not parts.get(part)]
    if not date:
        missing.append(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
        )
    if missing or not date:
        raise IncompleteSignature(f"{''.join(missing)}Authorization={header}")
    if not header.startswith(f"{ALGORITHM} "):
        raise IncompleteSignature(f"Unsupported AWS 'algorithm': '{header.partition(' ')[0]}'")
    return _Claim(
        _credential(parts["Credential"]),
        tuple(parts["SignedHeaders"].lower().split(";")),
        parts["Signature"],
        _time(date),
        None,
        query,
        headers.get("x-amz-security-token", ""),
    )


@lru_cache(1024)
def _named(text: str) -> tuple[Credential, tuple[str, ...]] | None:
    """Credential and signed headers of what stands before the signature, which is the same all day for a caller; None
    where that is not as it should be."""
    parts = _authorization(text)
    if not text.startswith(f"{ALGORITHM} ") or not parts.get("Credential") or not parts.get("SignedHeaders"):
        return None
    return _credential(parts["Credential"]), tuple(parts["SignedHeaders"].lower().split(";"))


def _claim_of_query(query: str, values: Mapping[str, str]) -> _Claim:
    missing = [f"AWS query-string parameters must include '{part}'. " for part in _QUERY_PARTS if not values.get(part)]
    if missing:
        raise IncompleteSignature(f"{''.join(missing)}Re-examine the query-string parameters.")
    if values["X-Amz-Algorithm"] != ALGORITHM:
        raise IncompleteSignature(f"Unsupported AWS 'algorithm': '{values['X-Amz-Algorithm']}'")
    expires = values.get("X-Amz-Expires", "")
    if not re.fullmatch(r"[0-9]{1,6}", expires) or int(expires) > EXPIRES_S_MAX:
        raise IncompleteSignature(f"X-Amz-Expires must be a number of seconds up to {EXPIRES_S_MAX}, got '{expires}'.")
    rest = "&".join(pair for pair in query.split("&") if pair.partition("=")[0] != "X-Amz-Signature")
    return _Claim(
        _credential(values["X-Amz-Credential"]),
        tuple(values["X-Amz-SignedHeaders"].lower().split(";")),
        values["X-Amz-Signature"],
        _time(values["X-Amz-Date"]),
        int(expires),
        rest,
        values.get("X-Amz-Security-Token", ""),
    )


def _authorization(header: str) -> dict[str, str]:
    """``AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b, Signature=c`` → its parts; AWS lets commas or spaces part them."""
    parts = {}
    for part in re.split("[, ]", header)[1:]:
        name, _, value = part.partition("=")
        parts[name] = value
    return parts


def _query_values(query: str) -> dict[str, str]:
    values = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        values[unquote(name)] = unquote(value)
    return values


def _credential(text: str) -> Credential:
    parts = text.rsplit("/", 4)
    if len(parts) != 5 or not all(parts):
        raise IncompleteSignature(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{text}'"
        )
    if parts[4] != TERMINATOR:
        raise InvalidSignature(
            f"Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{parts[4]}'."
        )
    return Credential(*parts[:4])


def _time(text: str) -> str:
    """The time of signing as ``20261125T103000Z``, from that form or from the form of the header Date."""
    if _BASIC.fullmatch(text):
        return text
    try:
        return parsedate_to_datetime(text).astimezone(UTC).strftime(_DATE_TIME)
    except (ValueError, TypeError, OverflowError, IndexError):
        raise IncompleteSignature(
            f"Date must be in ISO-8601 'basic format'. Got '{text}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ) from None


# What must hold beside the signature ----------------------------------------------------------------------------------


def _check_scope(claim: _Claim, service: str | None) -> None:
    credential = claim.credential
    if credential.date != claim.time[:8]:
        raise InvalidSignature(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{credential.date}' != '{claim.time[:8]}', from '{claim.time}'."
        )
    if service is not None and credential.service != service:
        raise InvalidSignature(f"Credential should be scoped to correct service: '{service}'. ")


def _check_time(claim: _Claim, now_ms: int) -> None:
    signed_ms = _parsed_ms(claim.time)
    good_ms = SKEW_MS_MAX if claim.expires_s is None else claim.expires_s * 1000
    unit = "5 min." if claim.expires_s is None else f"{claim.expires_s} sec."
    if signed_ms + good_ms < now_ms:
        raise InvalidSignature(
            f"Signature expired: {claim.time} is now earlier than {_stamp(now_ms - good_ms)} ({_stamp(now_ms)} - {unit})"
        )
    if signed_ms - SKEW_MS_MAX > now_ms:
        raise InvalidSignature(
            f"Signature not yet current: {claim.time} is still later than {_stamp(now_ms + SKEW_MS_MAX)} "
            f"({_stamp(now_ms)} + 5 min.)"
        )


@lru_cache(256)
def _parsed_ms(text: str) -> int:
    """Remembered, since callers sign many requests in a second and parsing takes as long as all the rest."""
    try:
        return int(datetime.strptime(text, _DATE_TIME).replace(tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        raise IncompleteSignature(
            f"Date must be in ISO-8601 'basic format'. Got '{text}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ) from None


def _check_signed(claim: _Claim, headers: Mapping[str, str]) -> None:
    """An operation that is not under the signature could be swapped for another."""
    if "host" not in claim.signed_headers and ":authority" not in claim.signed_headers:
        raise InvalidSignature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    if "x-amz-target" in headers and "x-amz-target" not in claim.signed_headers:
        raise InvalidSignature("'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.")


def _stamp(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime(_DATE_TIME)
