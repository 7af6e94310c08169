"""What a destination may be: AWS's rules and defaults, as a table of checks over its own configuration structure.

A configuration is AWS's ExtendedS3DestinationConfiguration as plain data under AWS's names; `complete` checks one and
fills the defaults in, so that describing a delivery stream is reading it out. `Destination` is the same, typed, for who
delivers. What is not built is refused by name: nothing that a caller asks for is silently left out.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Literal

import msgspec

from connectors.formats.parquet import ParquetOptions
from firehose.names import time_zone
from firehose.prefix import FROM_FUNCTION, FROM_QUERY, Prefix, PrefixError
from firehose.processors import MIB, FunctionCall, complete_processing, function_call, parameters_of, refuse
from streams.core.errors import InvalidArgument

SIZE_MBS, INTERVAL_S = 5, 300
CONVERSION_SIZE_MBS = PARTITIONING_SIZE_MBS = 128
SIZE_MBS_MIN_OF_AWS = 64
PARTITIONING_INTERVAL_S_MIN_OF_AWS = 60
RETRY_S = 300

_BUCKET = re.compile(r"arn:[^:]*:s3:::([A-Za-z0-9][A-Za-z0-9._-]{0,254})\Z")


def plain(request: Any) -> Any:
    """A decoded request, or a part of it, as plain data under AWS's names, without the members that are absent."""
    return _pruned(msgspec.to_builtins(request, builtin_types=(bytes,)))


def _pruned(value: Any) -> Any:
    match value:
        case dict():
            return {key: _pruned(inner) for key, inner in value.items() if inner is not None}
        case list():
            return [_pruned(inner) for inner in value]
    return value


@dataclass(frozen=True, slots=True)
class Destination:
    """A completed configuration, typed. `table` is (database, table) of the schema where rows are written."""

    bucket: str
    prefix: Prefix
    error_prefix: Prefix
    size_max: int
    interval_ms: int
    gzip: bool
    delimiter: bytes
    function: FunctionCall | None
    query: str | None
    partitioned: bool
    table: tuple[str, str] | None
    parquet: ParquetOptions
    column_paths: Mapping[str, str]
    extension: str
    zone: tzinfo

    @staticmethod
    def of(configuration: Mapping[str, Any]) -> Destination:
        """From a configuration that `complete` answered."""
        hints = configuration["BufferingHints"]
        conversion = configuration.get("DataFormatConversionConfiguration", {})
        converts = bool(conversion.get("Enabled", False))
        serializer = conversion.get("OutputFormatConfiguration", {}).get("Serializer", {}).get("ParquetSerDe", {})
        schema = conversion.get("SchemaConfiguration", {})
        gzip = configuration["CompressionFormat"] == "GZIP"
        processors = {p["Type"]: parameters_of(p) for p in _processors(configuration)}
        prefix, error_prefix = prefixes(configuration)
        default_extension = ".parquet" if converts else ".gz" if gzip else ""
        return Destination(
            bucket=bucket_name(configuration["BucketARN"]),
            prefix=prefix,
            error_prefix=error_prefix,
            size_max=hints["SizeInMBs"] * MIB,
            interval_ms=hints["IntervalInSeconds"] * 1000,
            gzip=gzip,
            delimiter=b"\n" if "AppendDelimiterToRecord" in processors else b"",
            function=function_call(processors["Lambda"]) if "Lambda" in processors else None,
            query=processors.get("MetadataExtraction", {}).get("MetadataExtractionQuery"),
            partitioned=bool(configuration.get("DynamicPartitioningConfiguration", {}).get("Enabled", False)),
            table=(schema["DatabaseName"].lower(), schema["TableName"].lower()) if converts else None,
            parquet=_parquet(serializer),
            column_paths=_column_paths(conversion),
            extension=configuration.get("FileExtension") or default_extension,
            zone=time_zone(configuration.get("CustomTimeZone")),
        )


def complete(configuration: dict[str, Any], compat: Literal["aws", "emulator"]) -> dict[str, Any]:
    """The configuration with AWS's defaults. Raises `InvalidArgument` in AWS's words, or saying what is not built."""
    done = copy.deepcopy(configuration)
    bucket_name(done["BucketARN"])
    done.setdefault("CompressionFormat", "UNCOMPRESSED")
    done.setdefault("EncryptionConfiguration", {"NoEncryptionConfig": "NoEncryption"})
    done.setdefault("CloudWatchLoggingOptions", {"Enabled": False})
    done.setdefault("S3BackupMode", "Disabled")
    _refuse_unbuilt(done)
    done["ProcessingConfiguration"] = complete_processing(done.get("ProcessingConfiguration", {"Enabled": False}))
    converts = _check_conversion(done)
    partitioned = bool(done.get("DynamicPartitioningConfiguration", {}).get("Enabled", False))
    if partitioned:
        partitioning = dict(done["DynamicPartitioningConfiguration"])
        partitioning.setdefault("RetryOptions", {"DurationInSeconds": RETRY_S})
        done["DynamicPartitioningConfiguration"] = partitioning
    done["BufferingHints"] = _hints(done.get("BufferingHints", {}), converts, partitioned, compat)
    _check_prefixes(done, partitioned)
    try:
        time_zone(done.get("CustomTimeZone"))
    except (KeyError, ValueError) as error:
        raise InvalidArgument(f"CustomTimeZone {done['CustomTimeZone']} is not a known time zone.") from error
    return done


def bucket_name(arn: str) -> str:
    """``NAME`` of ``arn:aws:s3:::NAME``."""
    match = _BUCKET.match(arn)
    if match is None:
        raise InvalidArgument(f"BucketARN {arn} is not the ARN of an S3 bucket (arn:aws:s3:::NAME).")
    return match.group(1)


def prefixes(configuration: Mapping[str, Any]) -> tuple[Prefix, Prefix]:
    """Prefix and ErrorOutputPrefix, parsed, with what AWS appends to them. Raises `InvalidArgument`."""
    text, error_text = configuration.get("Prefix", ""), configuration.get("ErrorOutputPrefix")
    try:
        prefix = Prefix.parse(text)
        error_prefix = Prefix.parse(text if error_text is None else error_text)
        if not error_prefix.expressions:
            error_prefix = Prefix((*error_prefix.parts, *Prefix.parse("!{firehose:error-output-type}/").parts))
            error_prefix = Prefix((*error_prefix.parts, *Prefix.parse("!{timestamp:yyyy/MM/dd/HH/}").parts))
    except PrefixError as error:
        raise InvalidArgument(f"{error}.") from error
    return prefix.with_default_time(), error_prefix


def _refuse_unbuilt(configuration: Mapping[str, Any]) -> None:
    """One row for each thing of AWS's model that is not built: whether it is asked for, and its name."""
    conversion = configuration.get("DataFormatConversionConfiguration", {})
    serializer = conversion.get("OutputFormatConfiguration", {}).get("Serializer", {})
    deserializer = conversion.get("InputFormatConfiguration", {}).get("Deserializer", {})
    openx = deserializer.get("OpenXJsonSerDe", {})
    version = conversion.get("SchemaConfiguration", {}).get("VersionId", "LATEST")
    unbuilt = {
        f"CompressionFormat {configuration['CompressionFormat']}": configuration["CompressionFormat"]
        not in ("UNCOMPRESSED", "GZIP"),
        "EncryptionConfiguration.KMSEncryptionConfig": "KMSEncryptionConfig"
        in configuration["EncryptionConfiguration"],
        "S3BackupMode Enabled": configuration["S3BackupMode"] == "Enabled" or "S3BackupConfiguration" in configuration,
        "Serializer.OrcSerDe": "OrcSerDe" in serializer,
        "Deserializer.HiveJsonSerDe": "HiveJsonSerDe" in deserializer,
        "OpenXJsonSerDe.ConvertDotsInJsonKeysToUnderscores": openx.get("ConvertDotsInJsonKeysToUnderscores", False),
        "SchemaConfiguration.VersionId other than LATEST": version not in ("LATEST", "1"),
    }
    refuse(name for name, asked in unbuilt.items() if asked)


def _processors(configuration: Mapping[str, Any]) -> list[dict[str, Any]]:
    processing = configuration["ProcessingConfiguration"]
    return list(processing.get("Processors", ())) if processing["Enabled"] else []


def _check_conversion(configuration: Mapping[str, Any]) -> bool:
    """Whether records are converted. AWS: a conversion that is given is enabled unless it says otherwise."""
    conversion = configuration.get("DataFormatConversionConfiguration")
    if conversion is None or not conversion.setdefault("Enabled", True):
        return False
    serializer = conversion.get("OutputFormatConfiguration", {}).get("Serializer", {})
    deserializer = conversion.get("InputFormatConfiguration", {}).get("Deserializer", {})
    schema = conversion.get("SchemaConfiguration", {})
    if len(serializer) != 1 or len(deserializer) != 1:
        raise InvalidArgument("Exactly one serializer and one deserializer are needed for data format conversion.")
    if "DatabaseName" not in schema or "TableName" not in schema:
        raise InvalidArgument("SchemaConfiguration needs DatabaseName and TableName for data format conversion.")
    if configuration["CompressionFormat"] != "UNCOMPRESSED":
        raise InvalidArgument("CompressionFormat must be UNCOMPRESSED when data format conversion is enabled.")
    parquet = serializer["ParquetSerDe"]
    if parquet.setdefault("Compression", "SNAPPY") not in ("SNAPPY", "GZIP", "UNCOMPRESSED"):
        raise InvalidArgument(f"Parquet compression {parquet['Compression']} is not supported.")
    return True


def _parquet(serializer: Mapping[str, Any]) -> ParquetOptions:
    """MaxPaddingBytes is for HDFS and means nothing to a file of its own."""
    return ParquetOptions(
        compression=serializer.get("Compression", "SNAPPY"),
        dictionary=serializer.get("EnableDictionaryCompression", True),
        block_size=serializer.get("BlockSizeBytes", 256 * MIB),
        page_size=serializer.get("PageSizeBytes", MIB),
        version=serializer.get("WriterVersion", "V1"),
    )


def _column_paths(conversion: Mapping[str, Any]) -> dict[str, str]:
    """Column → JSON path of the OpenX option ColumnToJsonKeyMappings."""
    deserializer = conversion.get("InputFormatConfiguration", {}).get("Deserializer", {}).get("OpenXJsonSerDe", {})
    mappings = deserializer.get("ColumnToJsonKeyMappings", {})
    return {column: '$."' + key.replace('"', '\\"') + '"' for column, key in mappings.items()}


def _hints(hints: Mapping[str, int], converts: bool, partitioned: bool, compat: str) -> dict[str, int]:
    if len(hints) == 1:
        raise InvalidArgument("BufferingHints needs both SizeInMBs and IntervalInSeconds, or neither.")
    size_default = CONVERSION_SIZE_MBS if converts else PARTITIONING_SIZE_MBS if partitioned else SIZE_MBS
    size, interval = hints.get("SizeInMBs", size_default), hints.get("IntervalInSeconds", INTERVAL_S)
    if compat == "aws":
        if partitioned and interval < PARTITIONING_INTERVAL_S_MIN_OF_AWS:
            raise InvalidArgument(
                "BufferingHints.IntervalInSeconds must be at least 60 seconds when Dynamic Partitioning is enabled."
            )
        if partitioned and size < SIZE_MBS_MIN_OF_AWS:
            raise InvalidArgument("BufferingHints.SizeInMBs must be at least 64 when Dynamic Partitioning is enabled.")
        if converts and size < SIZE_MBS_MIN_OF_AWS:
            raise InvalidArgument(
                "BufferingHints.SizeInMBs must be at least 64 when data format conversion is enabled."
            )
    return {"SizeInMBs": size, "IntervalInSeconds": interval}


def _check_prefixes(configuration: Mapping[str, Any], partitioned: bool) -> None:
    prefix, error_prefix = prefixes(configuration)
    written = configuration.get("ErrorOutputPrefix")
    if prefix.names("firehose", "error-output-type"):
        raise InvalidArgument("Prefix cannot contain !{firehose:error-output-type}.")
    if written is None and Prefix.parse(configuration.get("Prefix", "")).expressions:
        raise InvalidArgument("ErrorOutputPrefix is needed when Prefix contains expressions.")
    if error_prefix.keys:
        raise InvalidArgument("ErrorOutputPrefix cannot contain partition key expressions.")
    if not error_prefix.names("firehose", "error-output-type"):
        raise InvalidArgument("ErrorOutputPrefix needs !{firehose:error-output-type} when it contains expressions.")
    kinds = [processor["Type"] for processor in _processors(configuration)]
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
