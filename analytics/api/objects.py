"""Objects that a request names in a bucket: a sample for a schema, code of an application."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import fsspec

from analytics.api.specification import reference_url
from streams.core.errors import InvalidArgument
from streams.core.settings import Settings


async def head(given: Mapping[str, Any], size_max: int, settings: Settings) -> bytes:
    """At most `size_max` bytes of the object's begin; `given` has BucketARN and FileKey. Raises `InvalidArgument` where it
    cannot be read."""
    url = reference_url(given, settings)

    def read() -> bytes:
        with fsspec.open(url, "rb") as file:
            return bytes(file.read(size_max))

    try:
        return await asyncio.to_thread(read)
    except FileNotFoundError as error:
        raise InvalidArgument(f"There is no object {given['FileKey']} in {given['BucketARN']}.") from error
    except Exception as error:  # whatever the store behind the URL raises
        raise InvalidArgument(
            f"Object {given['FileKey']} in {given['BucketARN']} cannot be read: {type(error).__name__}: {error}"
        ) from error
