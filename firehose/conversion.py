"""Format conversion: AWS's DataFormatConversionConfiguration, checked and typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.formats import joda
from connectors.formats.dialect import LENIENT, Dialect
from connectors.formats.orc import OrcOptions
from connectors.formats.parquet import ParquetOptions
from firehose.outputs import MIB
from streams.core.errors import InvalidArgument

LATEST = "LATEST"


@dataclass(frozen=True, slots=True)
class Conversion:
    """`table` is (database, table) of the schema, `version` that of the table; None follows the latest. `column_paths` are the JSON paths of columns that are not fed by the key
    of their name; `ignore_case` says whether keys match in any case, `dots` whether theirs are read as underscores.
    `dialect` is the deserializer's: OpenX's is lenient, Hive's strict."""

    table: tuple[str, str]
    format: ParquetOptions | OrcOptions
    column_paths: Mapping[str, str]
    ignore_case: bool = True
    dots: bool = False
    dialect: Dialect = LENIENT
    version: str | None = None

    @property
    def extension(self) -> str:
        return ".parquet" if isinstance(self.format, ParquetOptions) else ".orc"

    @staticmethod
    def of(configuration: Mapping[str, Any]) -> Conversion | None:
        """From a configuration that `complete_conversion` has seen."""
        conversion = configuration.get("DataFormatConversionConfiguration", {})
        if not conversion.get("Enabled", False):
            return None
        schema = conversion["SchemaConfiguration"]
        serializer = conversion["OutputFormatConfiguration"]["Serializer"]
        parquet, orc = serializer.get("ParquetSerDe"), serializer.get("OrcSerDe")
        return Conversion(
            (schema["DatabaseName"].lower(), schema["TableName"].lower()),
            _orc(orc or {}) if parquet is None else _parquet(parquet),
            _column_paths(conversion),
            ignore_case=_openx(conversion).get("CaseInsensitive", True),
            dots=_openx(conversion).get("ConvertDotsInJsonKeysToUnderscores", False),
            dialect=_dialect(conversion),
            version=None if schema.get("VersionId", LATEST) == LATEST else schema["VersionId"],
        )


def complete_conversion(configuration: dict[str, Any]) -> bool:
    """Whether records are converted. AWS: a conversion that is given is enabled unless it says otherwise. Raises
    `InvalidArgument`."""
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
    for pattern in deserializer.get("HiveJsonSerDe", {}).get("TimestampFormats", ()):
        _check_pattern(pattern)
    for written in serializer.values():
        written.setdefault("Compression", "SNAPPY")
    return True


def _parquet(serializer: Mapping[str, Any]) -> ParquetOptions:
    """MaxPaddingBytes is for HDFS and means nothing to a file of its own."""
    return ParquetOptions(
        compression=serializer["Compression"],
        dictionary=serializer.get("EnableDictionaryCompression", True),
        block_size=serializer.get("BlockSizeBytes", 256 * MIB),
        page_size=serializer.get("PageSizeBytes", MIB),
        version=serializer.get("WriterVersion", "V1"),
    )


def _orc(serializer: Mapping[str, Any]) -> OrcOptions:
    """BlockSizeBytes is for HDFS, as is padding: a file of its own has none unless it is asked for."""
    padding = serializer.get("PaddingTolerance", 0.05) if serializer.get("EnablePadding", False) else 0.0
    return OrcOptions(
        compression=serializer["Compression"],
        stripe_size=serializer.get("StripeSizeBytes", 64 * MIB),
        row_index_stride=serializer.get("RowIndexStride", 10_000),
        padding_tolerance=padding,
        dictionary_threshold=serializer.get("DictionaryKeyThreshold", 0.0),
        bloom_columns=tuple(serializer.get("BloomFilterColumns", ())),
        bloom_false_positives=serializer.get("BloomFilterFalsePositiveProbability", 0.05),
        version=serializer.get("FormatVersion", "V0_12"),
    )


def _openx(conversion: Mapping[str, Any]) -> Mapping[str, Any]:
    options: Mapping[str, Any] = conversion["InputFormatConfiguration"]["Deserializer"].get("OpenXJsonSerDe", {})
    return options


def _dialect(conversion: Mapping[str, Any]) -> Dialect:
    hive = conversion["InputFormatConfiguration"]["Deserializer"].get("HiveJsonSerDe")
    return LENIENT if hive is None else Dialect(tuple(hive.get("TimestampFormats", ())))


def _check_pattern(pattern: str) -> None:
    try:
        if pattern != joda.MILLIS:
            joda.compiled(pattern)
    except ValueError as error:
        raise InvalidArgument(f"TimestampFormats: {error}.") from error


def _column_paths(conversion: Mapping[str, Any]) -> dict[str, str]:
    """Column → JSON path of the OpenX option ColumnToJsonKeyMappings."""
    mappings = _openx(conversion).get("ColumnToJsonKeyMappings", {})
    return {column: '$."' + key.replace('"', '\\"') + '"' for column, key in mappings.items()}
