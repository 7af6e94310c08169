"""Archives of code that lie in a bucket: one of the settings' `buckets`, or a folder of the data directory."""

from __future__ import annotations

from pathlib import Path

import fsspec

from connectors.files import safe_key
from connectors.functions.api.errors import InvalidParameterValue
from streams.core.settings import Settings

ARCHIVE_SIZE_MAX = 262_144_000
"""Lambda's limit for code from a bucket, bytes."""


class Sources:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def read(self, bucket: str, key: str) -> bytes:
        """Blocks. Raises `InvalidParameterValue`."""
        url = self._settings.buckets.get(bucket) or str(self._settings.data_path.resolve() / "buckets" / bucket)
        try:
            with fsspec.open(f"{url.rstrip('/')}/{safe_key(key)}", "rb") as file:
                content: bytes = file.read(ARCHIVE_SIZE_MAX + 1)
        except Exception as error:  # every store has errors of its own
            raise InvalidParameterValue(
                "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: "
                f"The specified key {Path(bucket) / key} cannot be read: {error}"
            ) from error
        if len(content) > ARCHIVE_SIZE_MAX:
            raise InvalidParameterValue(f"Unzipped size must be smaller than {ARCHIVE_SIZE_MAX} bytes")
        return content
