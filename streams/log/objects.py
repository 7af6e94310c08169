"""Objects: files kept elsewhere under a name, in a folder (of another disk, or of the network) or whatever fsspec reaches.

An object appears whole and is never written over. What the place refuses is `LogUnreachable`, in its own words.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from streams.core.errors import LogUnreachable
from streams.core.remote import Whole, reach
from streams.log.disk import Disk

_COPY_SIZE = 1 << 20


class Objects(Protocol):
    """Names are paths with ``/``. All methods block, may be called from any thread, and raise `LogUnreachable`."""

    @property
    def url(self) -> str:
        """For messages."""
        ...

    def put(self, path: Path, name: str) -> None:
        """What the file holds is the object, durably. Raises FileExistsError where there is one."""
        ...

    def size(self, name: str) -> int | None:
        """In bytes; None where there is no such object."""
        ...

    def read(self, name: str, position: int, size: int) -> bytes:
        """These bytes, which must be there."""
        ...

    def delete(self, name: str) -> None:
        """The object is gone. One that does not exist is."""
        ...

    def names(self, folder: str) -> list[str]:
        """Of all objects whose names begin with ``folder/``, and of what unfinished puts have left there, sorted."""
        ...


def open_objects(url: str) -> Objects:
    """A path, ``file://…``, or a URL that fsspec knows. Nothing is asked yet. Raises `ExtraMissing` where the library of the
    protocol is not installed, ValueError for an unknown one."""
    protocol, _, path = url.rpartition("://")
    if protocol in ("", "file", "local"):
        return Folder(Path(path))
    filesystem, root = reach(url, "A tier")
    return Bucket(filesystem, root, url)


class Folder:
    """A folder. An object is written under a hidden name, synced, and then linked."""

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        self._root = root
        self._disk = disk or Disk()

    @property
    def url(self) -> str:
        return str(self._root)

    def put(self, path: Path, name: str) -> None:
        target = self._root / name
        hidden = target.with_name(f".{target.name}.part")
        with self._told():
            self._disk.make_folders([target.parent])
            self._disk.remove(hidden)
            try:
                self._copy(path, hidden)
                _link(hidden, target)
            finally:
                with contextlib.suppress(OSError):
                    self._disk.remove(hidden)
            self._disk.sync_folder(target.parent)

    def size(self, name: str) -> int | None:
        with self._told():
            try:
                return self._disk.size(self._root / name)
            except FileNotFoundError:
                return None

    def read(self, name: str, position: int, size: int) -> bytes:
        with self._told():
            return _all(self._disk.read(self._root / name, position, size), size, f"{self.url}/{name}")

    def delete(self, name: str) -> None:
        path = self._root / name
        with self._told():
            self._disk.remove(path)
            with contextlib.suppress(OSError):
                while (path := path.parent) != self._root:
                    path.rmdir()

    def names(self, folder: str) -> list[str]:
        with self._told():
            found = (self._root / folder).rglob("*")
            return sorted(str(path.relative_to(self._root)) for path in found if path.is_file())

    def _copy(self, path: Path, hidden: Path) -> None:
        fd = self._disk.open(hidden)
        try:
            position = 0
            with path.open("rb") as source:
                while piece := source.read(_COPY_SIZE):
                    position += self._disk.write(fd, [piece], position)
            self._disk.sync(fd)
        finally:
            self._disk.close(fd)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except FileExistsError:
            raise
        except OSError as error:
            raise LogUnreachable(f"{self.url} does not answer: {error}") from error


class Bucket:
    """A file system of fsspec."""

    def __init__(self, filesystem: Any, root: str, url: str) -> None:
        self._filesystem = filesystem
        self._root = root.rstrip("/")
        self._url = url.rstrip("/")
        self._whole = Whole(filesystem)
        self._create = {"mode": "create"} if self._whole.is_s3 else {}

    @property
    def url(self) -> str:
        return self._url

    def put(self, path: Path, name: str) -> None:
        if self.size(name) is not None:
            raise FileExistsError(errno.EEXIST, "there is an object of this name", f"{self.url}/{name}")
        with self._told(name):
            self._whole.put(path, f"{self._root}/{name}", **self._create)

    def size(self, name: str) -> int | None:
        with self._told(name):
            return self._whole.size(f"{self._root}/{name}")

    def read(self, name: str, position: int, size: int) -> bytes:
        with self._told(name):
            content = self._filesystem.cat_file(f"{self._root}/{name}", start=position, end=position + size)
        return _all(content, size, f"{self.url}/{name}")

    def delete(self, name: str) -> None:
        with self._told(name), contextlib.suppress(FileNotFoundError):
            self._filesystem.rm_file(f"{self._root}/{name}")

    def names(self, folder: str) -> list[str]:
        with self._told(folder):
            self._filesystem.invalidate_cache()
            try:
                found = self._filesystem.find(f"{self._root}/{folder}")
            except FileNotFoundError:
                return []
            begin = len(self._root) + 1
            return sorted(path[begin:] for path in found)

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Whatever the library of the store raises: it has no common ancestor that says more."""
        try:
            yield
        except Exception as error:
            raise LogUnreachable(f"{self.url}/{name}: {str(error) or type(error).__name__}") from error


def _all(content: bytes, size: int, name: str) -> bytes:
    if len(content) != size:
        raise LogUnreachable(f"{name} has {len(content)} bytes where {size} should be")
    return content


def _link(hidden: Path, target: Path) -> None:
    """Raises FileExistsError; where there are no hard links, one server that owns the folder must be enough."""
    try:
        os.link(hidden, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        if target.exists():
            raise FileExistsError(errno.EEXIST, "there is an object of this name", str(target)) from error
        shutil.move(hidden, target)
