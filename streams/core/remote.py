"""File systems that fsspec reaches, and how a file appears whole on one.

Object stores show an object when its upload ends. Others get a hidden name first, then the file's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streams.core.errors import ExtraMissing

_EXTRAS = {"s3": "s3", "s3a": "s3"}
_S3 = frozenset({"s3", "s3a"})
_WHOLE = _S3 | {"gcs", "gs", "abfs", "az", "r2", "oss", "memory"}


def reach(url: str, what: str) -> tuple[Any, str]:
    """The file system of a URL, and the path on it. Nothing is asked yet. `what` it is for begins the sentence of
    `ExtraMissing`, where the library of the protocol is not installed; ValueError for an unknown protocol."""
    import fsspec  # only for who has something there: nobody else should wait for it at a start

    protocol, _, _ = url.rpartition("://")
    try:
        filesystem, root = fsspec.url_to_fs(url)
    except ImportError as error:
        raise ExtraMissing(_EXTRAS.get(protocol, protocol), f"{what} at {protocol}://") from error
    return filesystem, root


class Whole:
    """Files on a file system of fsspec. What it refuses is raised as its own library does; paths are the file system's."""

    def __init__(self, filesystem: Any) -> None:
        self._filesystem = filesystem
        protocol = filesystem.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        self._at_once = bool(names & _WHOLE)
        self.is_s3 = bool(names & _S3)
        """S3 refuses to write over an object (mode "create") even where two servers race for its name."""

    def put(self, path: Path, target: str, **options: Any) -> None:
        """The file `path` is at `target` when it returns. `options` are the library's."""
        if self._at_once:
            self._filesystem.put_file(str(path), target, **options)
            return
        folder, _, name = target.rpartition("/")
        hidden = f"{folder}/.{name}.part"
        self._filesystem.makedirs(folder, exist_ok=True)
        self._filesystem.put_file(str(path), hidden, **options)
        self._filesystem.mv(hidden, target)

    def size(self, target: str) -> int | None:
        """Bytes of what is there now; None where nothing is."""
        self._filesystem.invalidate_cache()
        try:
            return int(self._filesystem.info(target)["size"])
        except FileNotFoundError:
            return None
