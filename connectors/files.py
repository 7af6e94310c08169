"""Stores of objects: local directories and whatever fsspec reaches. An object appears whole, once, under its key.

A store is named by a URL: a path or ``file://…``, ``s3://bucket/prefix``, ``memory://…`` and so on. Keys are an object's
name in it, with ``/`` between segments; they come from users, so segments that would lead out of the store (``..``) are
percent-encoded, never followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import quote

from streams.core.durable import sync_folder
from streams.core.remote import Whole, reach

PART_SIZE = 16 << 20
PARTS_AT_ONCE = 2
"""A large object goes to S3 in parts, and this much of it is in memory. S3 takes 10,000 parts of at least 5 MiB."""

ANSWER_S_MAX = 60.0
RATE_MIN = 256 << 10
"""How long an upload may take, seconds, and one more for so many bytes of it. The client's own bound on time begins after
the server has asked for the contents ("100 Continue"): one that accepts and is silent would be waited for forever."""

_BLOCK_SIZE = 1 << 20


class Store(Protocol):
    """All methods block, and may be called from any thread."""

    def publish(self, staged: Path, key: str, encoding: str | None = None) -> None:
        """The bytes of the finished file `staged` are the object `key`, durably, when it returns. `encoding` is its
        Content-Encoding, for stores that keep one.

        Doing it again with the same bytes changes nothing; the object is never seen in part. Raises OSError or what the
        store's own library raises; then it may be tried again.
        """
        ...

    def has(self, key: str, size: int) -> bool:
        """Whether the object exists, with this many bytes."""
        ...

    def size(self, key: str) -> int | None:
        """Bytes of the object; None where there is none."""
        ...

    def open(self, key: str) -> BinaryIO:
        """The object's bytes, to read once. Raises FileNotFoundError."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """The keys of all objects that begin with `prefix`, sorted."""
        ...


def open_store(url: str) -> Store:
    """Raises `ExtraMissing` where the library of the URL's protocol is not installed, ValueError for an unknown one."""
    protocol, _, path = url.rpartition("://")
    if protocol in ("", "file", "local"):
        return LocalStore(Path(path))
    return RemoteStore(*reach(url, "A store"))


def safe_key(key: str) -> str:
    """The key with every segment that means something to a file system percent-encoded; empty segments vanish."""
    segments = [segment.replace("\0", "%00") for segment in key.split("/") if segment]
    return "/".join(
        quote(segment, safe="").replace(".", "%2E") if set(segment) == {"."} else segment for segment in segments
    )


class LocalStore:
    """A directory. A staged file of the same file system becomes the object by a hard link: no copy, no overwriting."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def publish(self, staged: Path, key: str, encoding: str | None = None) -> None:
        target = self._root / safe_key(key)
        self._make_directory(target.parent)
        try:
            os.link(staged, target)
        except FileExistsError:
            if not (target.samefile(staged) or _holds(self, staged, key)):
                raise
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                raise
            self._copy(staged, target)
        sync_folder(target.parent)

    def has(self, key: str, size: int) -> bool:
        return self.size(key) == size

    def size(self, key: str) -> int | None:
        with contextlib.suppress(FileNotFoundError):
            return (self._root / safe_key(key)).stat().st_size
        return None

    def open(self, key: str) -> BinaryIO:
        return (self._root / safe_key(key)).open("rb")

    def keys(self, prefix: str) -> list[str]:
        folder = self._root / safe_key(prefix.rpartition("/")[0])
        found = (path.relative_to(self._root).as_posix() for path in folder.rglob("*") if _is_object(path))
        return sorted(key for key in found if key.startswith(safe_key(prefix)))

    def _copy(self, staged: Path, target: Path) -> None:
        """For another file system, or one without hard links: a hidden copy is synced, then renamed."""
        hidden = target.with_name(f".{uuid.uuid4()}")
        try:
            with staged.open("rb") as source, hidden.open("xb") as copy:
                shutil.copyfileobj(source, copy, _BLOCK_SIZE)
                copy.flush()
                os.fsync(copy.fileno())
            hidden.rename(target)
        finally:
            hidden.unlink(missing_ok=True)

    def _make_directory(self, directory: Path) -> None:
        """Creates what is missing, and makes each new name durable."""
        missing = []
        while not directory.is_dir():
            missing.append(directory)
            directory = directory.parent
        for new in reversed(missing):
            new.mkdir(exist_ok=True)
            sync_folder(new.parent)


class RemoteStore:
    """A file system that fsspec reaches."""

    def __init__(self, filesystem: Any, root: str) -> None:
        self._filesystem = filesystem
        self._root = root.rstrip("/")
        self._whole = Whole(filesystem)

    def publish(self, staged: Path, key: str, encoding: str | None = None) -> None:
        if self._whole.is_s3:
            headers = {"ContentType": "application/octet-stream"}
            if encoding is not None:
                headers["ContentEncoding"] = encoding
            self._create(staged, key, headers)
            return
        if not self.has(key, staged.stat().st_size):
            self._whole.put(staged, self._path(key))

    def has(self, key: str, size: int) -> bool:
        return self.size(key) == size

    def size(self, key: str) -> int | None:
        return self._whole.size(self._path(key))

    def open(self, key: str) -> BinaryIO:
        opened: BinaryIO = self._filesystem.open(self._path(key), "rb")
        return opened

    def keys(self, prefix: str) -> list[str]:
        self._filesystem.invalidate_cache()
        root = self._filesystem._strip_protocol(self._root).rstrip("/") + "/"
        folder = self._path(prefix.rpartition("/")[0])
        try:
            found = self._filesystem.find(folder)
        except FileNotFoundError:
            return []
        keys = (str(path).removeprefix(root) for path in found)
        return sorted(key for key in keys if key.startswith(safe_key(prefix)))

    def _create(self, staged: Path, key: str, headers: dict[str, str]) -> None:
        """With If-None-Match, so that of two writers one makes the object. Raises OSError where an object of other contents
        has the name."""
        size = staged.stat().st_size
        bounds = {"chunksize": PART_SIZE, "max_concurrency": PARTS_AT_ONCE, "timeout": ANSWER_S_MAX + size / RATE_MIN}
        try:
            self._whole.put(staged, self._path(key), mode="create", **bounds, **headers)
        except OSError:  # a TimeoutError is one
            # It may have come to be there while this was under way, or a retry of s3fs's own met the first attempt. A
            # store that is away cannot be asked either: that it is, is what is raised then.
            if not _holds(self, staged, key):
                raise

    def _path(self, key: str) -> str:
        return f"{self._root}/{safe_key(key)}"


def _holds(store: Store, staged: Path, key: str) -> bool:
    """Whether the object is there, with the bytes of `staged`. Reads all of it: this is asked of an object that somebody
    has made under the same name, hardly ever."""
    if store.size(key) != staged.stat().st_size:
        return False
    with staged.open("rb") as ours, store.open(key) as theirs:
        while block := ours.read(_BLOCK_SIZE):
            if theirs.read(len(block)) != block:
                return False
    return True


def _is_object(path: Path) -> bool:
    """Not a folder, and not a copy that is being made."""
    return path.is_file() and not path.name.startswith(".")
