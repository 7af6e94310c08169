"""What a destination may be: AWS's rules and defaults over its own configuration structures.

A configuration is one of AWS's structures, ExtendedS3DestinationConfiguration for instance, as plain data under AWS's
names; `complete` checks one and fills the defaults in, so that describing a delivery stream is reading it out.
`Destination` is the same, typed, for who delivers. What is not built is refused by name: nothing that a caller asks for is
silently left out.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from firehose.conversion import Conversion, complete_conversion
from firehose.events import HTTP_ENDPOINT
from firehose.http import HttpDestination, complete_http
from firehose.names import time_zone
from firehose.outputs import (
    INTERVAL_S,
    MIB,
    SIZE_MBS,
    Compat,
    Output,
    complete_backup,
    complete_hints,
    complete_output,
    prefixes,
)
from firehose.prefix import FROM_FUNCTION, FROM_QUERY
from firehose.processors import FunctionCall, complete_processing, enabled_processors, function_call
from firehose.splitting import AS_THEY_ARE, Splitting
from streams.core.errors import InvalidArgument

CONVERSION_SIZE_MBS = PARTITIONING_SIZE_MBS = 128
SIZE_MBS_MIN_OF_AWS = 64
PARTITIONING_INTERVAL_S_MIN_OF_AWS = 60
RETRY_S = 300


@dataclass(frozen=True, slots=True)
class Destination:
    """What one lane does with its records, and where they go."""

    output: Output
    endpoint: HttpDestination | None = None
    splitting: Splitting = AS_THEY_ARE
    delimiter: bytes = b""
    function: FunctionCall | None = None
    query: str | None = None
    partitioned: bool = False
    conversion: Conversion | None = None

    @staticmethod
    def of(kind: str, configuration: Mapping[str, Any], compat: Compat = "aws") -> Destination:
        """From a configuration that `complete` answered."""
        processors = enabled_processors(configuration)
        if kind == HTTP_ENDPOINT:
            hints = configuration["BufferingHints"]
            return Destination(
                output=replace(
                    Output.of(configuration["S3Configuration"], compat=compat),
                    size_max=hints["SizeInMBs"] * MIB,
                    interval_ms=hints["IntervalInSeconds"] * 1000,
                ),
                endpoint=HttpDestination.of(configuration),
                splitting=Splitting.of(processors),
                delimiter=_delimiter(processors),
                function=_function(processors),
            )
        conversion = Conversion.of(configuration)
        return Destination(
            output=Output.of(configuration, None if conversion is None else conversion.extension, compat),
            splitting=Splitting.of(processors),
            delimiter=_delimiter(processors),
            function=_function(processors),
            query=processors.get("MetadataExtraction", {}).get("MetadataExtractionQuery"),
            partitioned=bool(configuration.get("DynamicPartitioningConfiguration", {}).get("Enabled", False)),
            conversion=conversion,
        )

    @staticmethod
    def of_backup(configuration: Mapping[str, Any], compat: Compat = "aws") -> Destination | None:
        """Where the original records go, if a copy is kept."""
        if not keeps_originals(configuration):
            return None
        member = "S3BackupConfiguration" if "S3BackupConfiguration" in configuration else "S3Configuration"
        return Destination(Output.of(configuration[member], compat=compat))


def _delimiter(processors: Mapping[str, Any]) -> bytes:
    return b"\n" if "AppendDelimiterToRecord" in processors else b""


def _function(processors: Mapping[str, Mapping[str, str]]) -> FunctionCall | None:
    return function_call(processors["Lambda"]) if "Lambda" in processors else None


def keeps_originals(configuration: Mapping[str, Any]) -> bool:
    return configuration.get("S3BackupMode") in ("Enabled", "AllData")


def complete(kind: str, configuration: dict[str, Any], compat: Compat) -> dict[str, Any]:
    """The configuration of a destination of this type with AWS's defaults. Raises `RequestError` in AWS's words, or
    saying what is not built."""
    return complete_http(configuration, compat) if kind == HTTP_ENDPOINT else _complete_s3(configuration, compat)


def _complete_s3(configuration: dict[str, Any], compat: Compat) -> dict[str, Any]:
    done = copy.deepcopy(configuration)
    complete_output(done)
    if done.setdefault("S3BackupMode", "Disabled") == "Enabled" and "S3BackupConfiguration" not in done:
        raise InvalidArgument("S3BackupConfiguration is required when S3BackupMode is Enabled.")
    if "S3BackupConfiguration" in done:
        complete_backup(done["S3BackupConfiguration"], compat)
    done["ProcessingConfiguration"] = complete_processing(done.get("ProcessingConfiguration", {"Enabled": False}))
    converts = complete_conversion(done)
    partitioned = bool(done.get("DynamicPartitioningConfiguration", {}).get("Enabled", False))
    if partitioned:
        done["DynamicPartitioningConfiguration"].setdefault("RetryOptions", {"DurationInSeconds": RETRY_S})
    done["BufferingHints"] = _hints(done.get("BufferingHints", {}), converts, partitioned, compat)
    _check_keys(done, partitioned)
    try:
        time_zone(done.get("CustomTimeZone"))
    except (KeyError, ValueError) as error:
        raise InvalidArgument(f"CustomTimeZone {done['CustomTimeZone']} is not a known time zone.") from error
    return done


def _hints(hints: Mapping[str, int], converts: bool, partitioned: bool, compat: Compat) -> dict[str, int]:
    done = complete_hints(
        hints, CONVERSION_SIZE_MBS if converts else PARTITIONING_SIZE_MBS if partitioned else SIZE_MBS, INTERVAL_S
    )
    if compat == "aws":
        if partitioned and done["IntervalInSeconds"] < PARTITIONING_INTERVAL_S_MIN_OF_AWS:
            raise InvalidArgument(
                "BufferingHints.IntervalInSeconds must be at least 60 seconds when Dynamic Partitioning is enabled."
            )
        if partitioned and done["SizeInMBs"] < SIZE_MBS_MIN_OF_AWS:
            raise InvalidArgument("BufferingHints.SizeInMBs must be at least 64 when Dynamic Partitioning is enabled.")
        if converts and done["SizeInMBs"] < SIZE_MBS_MIN_OF_AWS:
            raise InvalidArgument(
                "BufferingHints.SizeInMBs must be at least 64 when data format conversion is enabled."
            )
    return done


def _check_keys(configuration: Mapping[str, Any], partitioned: bool) -> None:
    """Whether the prefix and the processors agree about partition keys."""
    prefix, _ = prefixes(configuration)
    kinds = enabled_processors(configuration)
    if not partitioned:
        if prefix.keys:
            raise InvalidArgument(
                "Dynamic Partitioning Namespaces can only be part of a prefix expression when Dynamic Partitioning is "
                "enabled."
            )
        if "MetadataExtraction" in kinds:
            raise InvalidArgument("Processor MetadataExtraction needs Dynamic Partitioning to be enabled.")
        return
    if not prefix.keys:
        raise InvalidArgument("Prefix must contain partition key expressions when Dynamic Partitioning is enabled.")
    for namespace, kind in ((FROM_FUNCTION, "Lambda"), (FROM_QUERY, "MetadataExtraction")):
        if prefix.names(namespace) and kind not in kinds:
            raise InvalidArgument(f"Prefix expression !{{{namespace}:…}} needs a {kind} processor.")
