"""Reading the error output back: the records of its lines, and how they failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import msgspec


class Failed(msgspec.Struct, rename="camel"):
    """One line of the error output, of whatever type."""

    raw_data: bytes
    attempts_made: int
    error_code: str | None = None
    last_error_code: str | None = None

    @property
    def code(self) -> str:
        return self.error_code or self.last_error_code or "unknown"


_decode = msgspec.json.Decoder(Failed).decode


def read_failures(file: BinaryIO) -> Iterator[Failed]:
    """Raises ValueError for what is no line of an error output."""
    for number, line in enumerate(file, 1):
        try:
            yield _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"line {number} is not of an error output: {error}") from error
