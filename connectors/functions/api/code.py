"""Archives of code in the data directory: ``SHA256.zip`` as it came, and the folder ``SHA256`` beside it, unpacked."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from connectors.functions.archive import digest, unpack
from streams.core.durable import sync_folder


@dataclass(frozen=True, slots=True)
class Code:
    """`name` is the SHA-256 in hexadecimal, `sha256` the same in base64, `size` the archive's bytes."""

    name: str
    sha256: str
    size: int


def describe(content: bytes) -> Code:
    return Code(hashlib.sha256(content).hexdigest(), digest(content), len(content))


class CodeStore:
    """All methods block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, content: bytes) -> Code:
        """Unpacked, and durable when it returns. Raises `ArchiveError`, OSError."""
        unpack(content, self._folder)
        code = describe(content)
        target = self.archive(code.name)
        if target.exists():
            return code
        hidden = self._folder / f".{uuid.uuid4()}.zip"
        try:
            with hidden.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            hidden.rename(target)
            sync_folder(self._folder)
        finally:
            hidden.unlink(missing_ok=True)
        return code

    def root(self, name: str) -> Path:
        """The unpacked folder; it is unpacked again where it is gone. Raises OSError where the archive is gone too."""
        folder = self._folder / name
        return folder if folder.is_dir() else unpack(self.content(name), self._folder)

    def archive(self, name: str) -> Path:
        """The file that the archive is, if it is here."""
        return self._folder / f"{name}.zip"

    def content(self, name: str) -> bytes:
        return self.archive(name).read_bytes()

    def sweep(self, kept: Collection[str]) -> None:
        """Removes every archive that is not `kept`, and what a crash left half done."""
        if not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            if path.name.startswith("."):
                remove(path)
            elif path.suffix == ".zip" and path.stem not in kept:
                remove(path)
                remove(path.with_suffix(""))


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
