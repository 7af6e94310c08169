"""Where objects go: bucket, prefixes, buffering hints, compression. AWS's S3DestinationConfiguration, checked and typed.

A configuration is AWS's structure as plain data under AWS's names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Literal

from connectors.formats.compression import EXTENSIONS, Compression
from firehose.names import time_zone
from firehose.prefix import Prefix, PrefixError
from streams.core.errors import InvalidArgument

MIB = 1 << 20
SIZE_MBS, INTERVAL_S = 5, 300
BACKUP_INTERVAL_S_MIN_OF_AWS = 60

Compat = Literal["aws", "emulator"]

_BUCKET = re.compile(r"arn:[^:]*:s3:::([A-Za-z0-9][A-Za-z0-9._-]{0,254})\Z")
_UNSATISFIED = "The supplied prefix(es) do not satisfy the following constraint:"


@dataclass(frozen=True, slots=True)
class Output:
    """`size_max` bytes or `interval_ms` of records share an object."""

    bucket: str
    prefix: Prefix
    error_prefix: Prefix
    size_max: int
    interval_ms: int
    compression: Compression
    extension: str
    zone: tzinfo

    @staticmethod
    def of(configuration: Mapping[str, Any], extension: str | None = None, compat: Compat = "aws") -> Output:
        """From a configuration that has its defaults. `extension` is that of the format, where it is not the
        compression's."""
        prefix, error_prefix = prefixes(configuration, compat)
        hints = configuration["BufferingHints"]
        compression: Compression = configuration["CompressionFormat"]
        return Output(
            bucket=bucket_name(configuration["BucketARN"]),
            prefix=prefix,
            error_prefix=error_prefix,
            size_max=hints["SizeInMBs"] * MIB,
            interval_ms=hints["IntervalInSeconds"] * 1000,
            compression=compression,
            extension=configuration.get("FileExtension") or extension or EXTENSIONS[compression],
            zone=time_zone(configuration.get("CustomTimeZone")),
        )


def complete_output(configuration: dict[str, Any]) -> None:
    """Fills AWS's defaults in. Raises `InvalidArgument`."""
    bucket_name(configuration["BucketARN"])
    configuration.setdefault("CompressionFormat", "UNCOMPRESSED")
    configuration.setdefault("EncryptionConfiguration", {"NoEncryptionConfig": "NoEncryption"})
    configuration.setdefault("CloudWatchLoggingOptions", {"Enabled": False})
    kms = "KMSEncryptionConfig" in configuration["EncryptionConfiguration"]
    refuse(["EncryptionConfiguration.KMSEncryptionConfig"] if kms else [])


def complete_backup(configuration: dict[str, Any], compat: Compat) -> None:
    """Of the bucket beside the destination. Raises `InvalidArgument`."""
    complete_output(configuration)
    hints = complete_hints(configuration.get("BufferingHints", {}), SIZE_MBS, INTERVAL_S)
    if compat == "aws" and hints["IntervalInSeconds"] < BACKUP_INTERVAL_S_MIN_OF_AWS:
        raise InvalidArgument("BufferingHints.IntervalInSeconds must be at least 60 seconds for S3 backup.")
    configuration["BufferingHints"] = hints
    prefix, _ = prefixes(configuration)
    if prefix.keys:
        raise InvalidArgument("The Prefix of an S3 backup cannot contain partition key expressions.")


def complete_hints(hints: Mapping[str, int], size_mbs: int, interval_s: int) -> dict[str, int]:
    """Both or neither. Raises `InvalidArgument`."""
    if len(hints) == 1:
        raise InvalidArgument("BufferingHints needs both SizeInMBs and IntervalInSeconds, or neither.")
    return {
        "SizeInMBs": hints.get("SizeInMBs", size_mbs),
        "IntervalInSeconds": hints.get("IntervalInSeconds", interval_s),
    }


def bucket_name(arn: str) -> str:
    """``NAME`` of ``arn:aws:s3:::NAME``."""
    match = _BUCKET.match(arn)
    if match is None:
        raise InvalidArgument(f"BucketARN {arn} is not the ARN of an S3 bucket (arn:aws:s3:::NAME).")
    return match.group(1)


def prefixes(configuration: Mapping[str, Any], compat: Compat = "aws") -> tuple[Prefix, Prefix]:
    """Prefix and ErrorOutputPrefix, checked, with what AWS appends to them. Raises `InvalidArgument`."""
    text, error_text = configuration.get("Prefix", ""), configuration.get("ErrorOutputPrefix")
    try:
        given = Prefix.parse(text)
        error_prefix = Prefix.parse(text if error_text is None else error_text)
        if not error_prefix.expressions:
            error_prefix = Prefix((*error_prefix.parts, *Prefix.parse("!{firehose:error-output-type}/").parts))
            error_prefix = Prefix((*error_prefix.parts, *Prefix.parse("!{timestamp:yyyy/MM/dd/HH/}").parts))
    except PrefixError as error:
        raise InvalidArgument(f"{error}.") from error
    if given.names("firehose", "error-output-type"):
        raise InvalidArgument("Prefix cannot contain !{firehose:error-output-type}.")
    if not error_text and given.expressions:
        raise InvalidArgument(
            f"{_UNSATISFIED} ErrorOutputPrefix cannot be null or empty when Prefix contains expressions"
        )
    if error_prefix.keys:
        raise InvalidArgument("ErrorOutputPrefix cannot contain partition key expressions.")
    if not error_prefix.names("firehose", "error-output-type"):
        raise InvalidArgument("ErrorOutputPrefix needs !{firehose:error-output-type} when it contains expressions.")
    if compat == "emulator" and text and not given.expressions and not text.endswith("/"):
        given = Prefix.parse(text + "/")
    return given.with_default_time(), error_prefix


def refuse(names: Iterable[str]) -> None:
    """Raises `InvalidArgument` for the first name: known to AWS's model, not built here."""
    for name in names:
        raise InvalidArgument(f"{name} is not supported by this server yet.")
