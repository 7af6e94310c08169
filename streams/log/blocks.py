"""Blocks of objects that were read lately, in files of one folder: who reads on does not ask the network again."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

log = logging.getLogger(__name__)

Key = tuple[str, int]
"""An object's name, and the number of the block in it."""


class Blocks:
    """At most `size_max` bytes, the longest unused removed first. For any thread. What an earlier process left in the folder
    is removed: only its own process knows that a file here is whole."""

    def __init__(self, folder: Path, size_max: int) -> None:
        self.size = 0
        self._folder = folder
        self._size_max = size_max
        self._kept: OrderedDict[Key, tuple[Path, int]] = OrderedDict()
        self._coming: dict[Key, Future[bytes]] = {}
        self._made = 0
        self._lock = threading.Lock()
        shutil.rmtree(folder, ignore_errors=True)

    def read(self, key: Key, begin: int, size: int, fetch: Callable[[], bytes]) -> bytes:
        """Bytes [begin, begin + size) of the block, which `fetch` gives whole where it is not here. Whoever wants it at the
        same time waits for the same fetch. Raises what `fetch` raises."""
        first = False
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
            elif key not in self._coming:
                first = True
                self._coming[key] = Future()
            coming = self._coming.get(key)
        if kept is not None:
            content = self._from_file(kept[0], begin, size)
            if content is not None:
                return content
            self._lose(key, kept)
            return self.read(key, begin, size, fetch)
        assert coming is not None
        if not first:
            return coming.result()[begin : begin + size]
        try:
            content = fetch()
        except BaseException as error:
            with self._lock:
                del self._coming[key]
            coming.set_exception(error)
            coming.exception()
            raise
        self._keep(key, content)
        coming.set_result(content)
        return content[begin : begin + size]

    def forget(self, name: str) -> None:
        """The object is gone."""
        with self._lock:
            gone = [key for key in self._kept if key[0] == name]
            for key in gone:
                self._remove(*self._kept.pop(key))

    def _keep(self, key: Key, content: bytes) -> None:
        with self._lock:
            self._made += 1
            path = self._folder / f"{self._made}.block"
        kept = len(content) <= self._size_max and self._to_file(path, content)
        with self._lock:
            del self._coming[key]
            if not kept:
                return
            self._kept[key] = path, len(content)
            self.size += len(content)
            while self.size > self._size_max:
                self._remove(*self._kept.popitem(last=False)[1])

    def _lose(self, key: Key, kept: tuple[Path, int]) -> None:
        with self._lock:
            if self._kept.get(key) == kept:
                self._remove(*self._kept.pop(key))

    def _remove(self, path: Path, size: int) -> None:
        self.size -= size
        path.unlink(missing_ok=True)

    @staticmethod
    def _from_file(path: Path, begin: int, size: int) -> bytes | None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None  # removed meanwhile, by us or by a person
        try:
            content = os.pread(fd, size, begin)
        except OSError:
            return None
        finally:
            os.close(fd)
        return content if len(content) == size else None

    def _to_file(self, path: Path, content: bytes) -> bool:
        """Whether it could be: a full disk costs the cache, and no read."""
        try:
            self._folder.mkdir(exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            log.warning("%s: what was read is not kept: %s", self._folder, error)
            return False
        return True
