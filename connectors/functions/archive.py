"""The code of a function as a zip archive: unpacked below a folder that is named after its contents."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import uuid
import zipfile
from base64 import b64encode
from pathlib import Path

from streams.core.errors import HeadraceError

UNPACKED_SIZE_MAX = 262_144_000
"""Lambda's limit for the code of a function, bytes."""

ENTRIES_MAX = 100_000
"""Files of one archive: the largest packages have a tenth of that, and each takes an inode."""

UNREADABLE = "Could not unzip uploaded file. Please check your file, then try to upload again."
TOO_LARGE = f"Unzipped size must be smaller than {UNPACKED_SIZE_MAX} bytes"
EMPTY = "Uploaded file must be a non-empty zip"

_READ_SIZE = 1 << 20


class ArchiveError(HeadraceError):
    """An archive that is not unpacked, and why, in Lambda's words."""


def digest(content: bytes) -> str:
    """CodeSha256: base64 of the archive's SHA-256."""
    return b64encode(hashlib.sha256(content).digest()).decode()


def unpack(content: bytes, folder: Path) -> Path:
    """The folder of the unpacked archive, named by its SHA-256 below `folder`; it appears whole. Blocks.

    Raises `ArchiveError` for what is no zip archive, is too large, or has an entry that would lead out of it.
    """
    target = folder / hashlib.sha256(content).hexdigest()
    if target.is_dir():
        return target
    hidden = folder / f".{uuid.uuid4()}"
    hidden.mkdir(parents=True)
    try:
        _extract(content, hidden)
        hidden.rename(target)
    except OSError:
        if not target.is_dir():  # another one has unpacked the same
            raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return target


def _extract(content: bytes, root: Path) -> None:
    left = UNPACKED_SIZE_MAX
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if not entries:
                raise ArchiveError(EMPTY)
            if len(entries) > ENTRIES_MAX:
                raise ArchiveError(f"{UNREADABLE} (more than {ENTRIES_MAX} entries)")
            for entry in entries:
                path = root / _inside(entry)
                if entry.is_dir():
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                left -= _write(archive, entry, path, left)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ArchiveError(f"{UNREADABLE} (a name is both a file and a folder)") from error
    except (OSError, ArchiveError):
        raise  # the disk's trouble, or what has been said already
    except Exception as error:
        # Damage makes zipfile raise a dozen kinds, IndexError and RuntimeError among them.
        raise ArchiveError(UNREADABLE) from error


def _inside(entry: zipfile.ZipInfo) -> str:
    """The entry's path below the root. Raises `ArchiveError` where it leads elsewhere."""
    name = entry.filename
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or "\0" in name or (len(name) > 1 and name[1] == ":"):
        raise ArchiveError(f"{UNREADABLE} (the entry {name!r} leads out of the archive)")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise ArchiveError(f"{UNREADABLE} (the entry {name!r} is a symbolic link)")
    return name


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, most: int) -> int:
    """What an archive says about sizes is not believed."""
    size = 0
    with archive.open(entry) as source, path.open("wb") as file:
        while chunk := source.read(_READ_SIZE):
            size += len(chunk)
            if size > most:
                raise ArchiveError(TOO_LARGE)
            file.write(chunk)
    if entry.external_attr >> 16 & stat.S_IXUSR:
        os.chmod(path, 0o755)
    return size
