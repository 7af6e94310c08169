"""Where code comes from: the request itself, or a bucket, which is one of the settings' or a folder of the data directory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import fsspec

from connectors.files import safe_key
from connectors.functions.api.errors import InvalidParameterValue, not_offered
from streams.core.settings import Settings

ARCHIVE_SIZE_MAX = 262_144_000
"""Lambda's limit for code from a bucket, bytes."""


NO_SOURCE = "Please provide a source for function code."
TWO_SOURCES = "Please do not provide other FunctionCode parameters when providing a ZipFile."


class Sources:
    """Where code comes from."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def content(self, source: Any) -> bytes:
        """The archive that `source`, which has the members of FunctionCode, holds or names. Raises
        `InvalidParameterValue`."""
        if source.image_uri:
            raise not_offered("ImageUri")
        if source.zip_file is not None:
            if source.s3_bucket or source.s3_key:
                raise InvalidParameterValue(TWO_SOURCES)
            content: bytes = source.zip_file
            return content
        if not source.s3_bucket or not source.s3_key:
            raise InvalidParameterValue(NO_SOURCE)
        if source.s3_object_version:
            raise not_offered("S3ObjectVersion")
        return await asyncio.to_thread(self.read, source.s3_bucket, source.s3_key)

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
