"""Files of text that a command is given."""

from __future__ import annotations

from pathlib import Path

from gateway.cli.failure import Failure


def text_of(path: Path) -> str:
    """The UTF-8 text of a file. Raises `Failure`."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise Failure(f"{path} is no text: byte {error.start + 1} is not UTF-8") from error
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}") from error
