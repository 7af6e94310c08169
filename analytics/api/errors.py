"""Errors that only Kinesis Data Analytics' API has."""

from __future__ import annotations

from collections.abc import Sequence

from streams.core.errors import RequestError


class CodeValidation(RequestError):
    code = "CodeValidationException"


class InvalidApplicationConfiguration(RequestError):
    code = "InvalidApplicationConfigurationException"


class InvalidRequest(RequestError):
    code = "InvalidRequestException"


class TooManyTags(RequestError):
    code = "TooManyTagsException"


class UnableToDetectSchema(RequestError):
    """Carries what was read, and what the function before the schema made of it."""

    code = "UnableToDetectSchemaException"

    def __init__(self, message: str, raw: Sequence[str] = (), processed: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.members = {"RawInputRecords": list(raw), "ProcessedInputRecords": list(processed)}
