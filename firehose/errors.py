"""Records that fail: one line of JSON each, with the original bytes, in an object under the error prefix."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

PROCESSING = "processing-failed"
CONVERSION = "format-conversion-failed"
EXTRACTION = "metadata-extraction-failed"
DECOMPRESSION = "decompression-failed"
ENDPOINT = "http-endpoint-failed"

MESSAGE_SIZE_MAX = 4096
"""Characters of a message: a function may have written it, and it stands beside each of thousands of records."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One record that failed: its index in the batch, the type of error output it goes to, and why.

    `attempts` are the calls of the function that were made for it.
    """

    index: int
    kind: str
    code: str
    message: str
    attempts: int = 1


def shortened(message: str) -> str:
    return message if len(message) <= MESSAGE_SIZE_MAX else message[: MESSAGE_SIZE_MAX - 1] + "…"


class _Line(msgspec.Struct, omit_defaults=True, kw_only=True):
    attempts_made: int = msgspec.field(name="attemptsMade")
    arrival_ms: int = msgspec.field(name="arrivalTimestamp")
    ended_ms: int = msgspec.field(name="attemptEndingTimestamp")
    raw: bytes = msgspec.field(name="rawData")


class _FailedProcessing(_Line, kw_only=True):
    """AWS's documentation spells the ARN's name one way and its objects the other: both are here."""

    code: str = msgspec.field(name="errorCode")
    message: str = msgspec.field(name="errorMessage")
    function_arn: str | None = msgspec.field(name="lambdaArn", default=None)
    function_arn_too: str | None = msgspec.field(name="lambdaARN", default=None)


class CatalogTable(msgspec.Struct):
    """The table whose schema a record did not fit."""

    catalog: str = msgspec.field(name="catalogId")
    database: str = msgspec.field(name="databaseName")
    table: str = msgspec.field(name="tableName")
    region: str
    version: str = msgspec.field(name="versionId")
    arn: str = msgspec.field(name="catalogArn")


class _FailedConversion(_Line, kw_only=True):
    code: str = msgspec.field(name="lastErrorCode")
    message: str = msgspec.field(name="lastErrorMessage")
    sequence_number: str = msgspec.field(name="sequenceNumber")
    sub_sequence_number: int | None = msgspec.field(name="subSequenceNumber")
    table: CatalogTable = msgspec.field(name="dataCatalogTable")


class _FailedRequest(_Line, kw_only=True):
    code: str = msgspec.field(name="errorCode")
    message: str = msgspec.field(name="errorMessage")
    sub_sequence_number: int = msgspec.field(name="subsequenceNumber")
    id: str = msgspec.field(name="dataId")


_encode = msgspec.json.Encoder().encode


def processing_line(fault: Fault, arrival_ms: int, now_ms: int, raw: bytes, function_arn: str | None) -> bytes:
    """Also of the other types that have no form of their own; the line ends with a line feed."""
    line = _FailedProcessing(
        attempts_made=fault.attempts,
        arrival_ms=arrival_ms,
        ended_ms=now_ms,
        raw=raw,
        code=fault.code,
        message=shortened(fault.message),
        function_arn=function_arn,
        function_arn_too=function_arn,
    )
    return _encode(line) + b"\n"


def conversion_line(
    fault: Fault, arrival_ms: int, now_ms: int, raw: bytes, sequence_number: str, sub: int | None, table: CatalogTable
) -> bytes:
    line = _FailedConversion(
        attempts_made=fault.attempts,
        arrival_ms=arrival_ms,
        ended_ms=now_ms,
        raw=raw,
        code=fault.code,
        message=shortened(fault.message),
        sequence_number=sequence_number,
        sub_sequence_number=sub,
        table=table,
    )
    return _encode(line) + b"\n"


def endpoint_line(code: str, message: str, attempts: int, now_ms: int, id: str, arrival_ms: int, raw: bytes) -> bytes:
    """Of a record that an HTTP endpoint did not take; `id` is its sequence number, a dot, and its place in its record."""
    line = _FailedRequest(
        attempts_made=attempts,
        arrival_ms=arrival_ms,
        ended_ms=now_ms,
        raw=raw,
        code=code,
        message=shortened(message),
        sub_sequence_number=int(id.rpartition(".")[2]),
        id=id,
    )
    return _encode(line) + b"\n"
