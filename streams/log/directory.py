"""The log's directory: who owns it, which format it has, and which shards lie in it.

directory := LOCK FORMAT [KEYS] [TIER] [COPYING] shards/NAME~/… dropped-* [tier-cache/]
             (the ~ keeps a shard apart from folders of shards)
LOCK      := empty, locked (flock) while a process has the log open
FORMAT    := "headrace-log 2\\n"
TIER      := id of this log, a line; where its segments lie that are not here, a line

What format 2 adds to format 1 are packed segments. A directory of format 1 is read as it is and becomes one of format 2
when it is opened: from then on a version that does not know packed segments refuses it, and loses nothing in it. What
format 3 adds are sealed frames; a directory becomes one when it is opened with a key. What format 4 adds are stubs of
segments that lie elsewhere; a directory becomes one when it is opened with a place for them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from crc32c import crc32c

from streams.core.errors import LogCorrupt, LogError
from streams.log.disk import Disk
from streams.log.sealing import Keyring

FORMAT = b"headrace-log 2\n"
FORMATS_READ = (b"headrace-log 1\n",)
"""Older ones that hold nothing this one does not."""
FORMAT_SEALED = b"headrace-log 3\n"
FORMAT_TIERED = b"headrace-log 4\n"
_FORMATS = (FORMAT, FORMAT_SEALED, FORMAT_TIERED)
"""Each may hold what those before it may."""

FIRST = "first"
COPYING = "COPYING"
"""In a directory that a copy is being made in (see `filling`): nobody else opens it."""


class Directory:
    """An opened directory; `close` gives it up. It is put in order, unless it is only `read`. Raises `LogError` where
    another process has it open, or its format is not this one's."""

    def __init__(
        self, path: Path, disk: Disk, keyring: Keyring | None = None, *, read: bool = False, copying: bool = False
    ) -> None:
        self.path = path
        self.shards = path / "shards"
        self._disk = disk
        self._changes = not read
        self._copying = copying
        if self._changes:
            disk.make_folders([self.shards])
        elif not (path / "FORMAT").exists():
            raise LogError(f"{path} holds no log")
        self._lock = os.open(path / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._take()
            self._check_keys(keyring)
        except BaseException:
            os.close(self._lock)
            raise

    def folders(self) -> dict[str, Path]:
        """Name → folder of every shard."""
        found = {}
        for root, folders, _ in os.walk(self.shards):
            if root.endswith("~"):
                folders.clear()
                found[str(Path(root).relative_to(self.shards))[:-1]] = Path(root)
        return found

    def folder(self, shard: str) -> Path:
        return self.shards / (shard + "~")

    def create(self, shards: Iterable[str]) -> None:
        """The shards' folders exist, durably. What is in one already, since a drop failed or nobody waited, stays."""
        self._disk.make_folders(map(self.folder, shards))

    def write_first(self, shard: str, first: int) -> None:
        text = b"%d" % first
        self._disk.replace(self.folder(shard) / FIRST, b"%b %08x\n" % (text, crc32c(text)))

    def read_first(self, folder: Path) -> int:
        """What was trimmed; 0 if nothing was."""
        try:
            content = (folder / FIRST).read_bytes()
        except FileNotFoundError:
            return 0
        text, _, crc = content.partition(b" ")
        if crc != b"%08x\n" % crc32c(text):
            raise LogCorrupt(f"{folder / FIRST} holds {content[:40]!r} and not an offset")
        return int(text)

    def drop(self, shard: str) -> Path:
        """The shard is gone, durably; where its bytes are, for `bury`. One that is gone already may be dropped again."""
        folder = self.folder(shard)
        grave = self.path / f"dropped-{uuid.uuid4().hex}"
        with contextlib.suppress(FileNotFoundError):
            self._disk.rename(folder, grave)
        self._disk.sync_folder(folder.parent)
        parent = folder.parent
        with contextlib.suppress(OSError):
            while parent != self.shards and not any(parent.iterdir()):
                parent.rmdir()
                parent = parent.parent
        return grave

    def bury(self, grave: Path) -> None:
        """Frees the space of a dropped shard; what cannot be removed now is at the next opening."""
        shutil.rmtree(grave, ignore_errors=True)

    @property
    def tier_cache(self) -> Path:
        """For what was lately read of segments that lie elsewhere."""
        return self.path / "tier-cache"

    def tier_of(self, url: str) -> str:
        """The id under which this log's objects lie at `url`; it is noted, and stays. Raises `OSError`."""
        noted = self.tiered()
        tier_id = uuid.uuid4().hex if noted is None else noted[0]
        if noted != (tier_id, url) and self._changes:
            self._disk.replace(self.path / "TIER", f"{tier_id}\n{url}\n".encode())
            self._raise_format(FORMAT_TIERED)
        return tier_id

    def tiered(self) -> tuple[str, str] | None:
        """The id and where the log's objects lay when it was last open; None if it never had any."""
        noted = self.path / "TIER"
        if not noted.exists():
            return None
        tier_id, _, url = noted.read_text().rstrip("\n").partition("\n")
        return tier_id, url

    def close(self) -> None:
        os.close(self._lock)

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LogError(f"{self.path} is in use by another process; one server owns a data directory") from None
        if not self._copying and (self.path / COPYING).exists():
            raise LogError(f"{self.path} is a copy that is not finished: go on with headrace log copy")
        marker = self.path / "FORMAT"
        found = marker.read_bytes() if marker.exists() else None
        if found is None or found in FORMATS_READ:
            if self._changes:
                self._disk.replace(marker, FORMAT)
        elif found not in _FORMATS:
            raise LogError(
                f"{self.path} has the format {found[:40].decode(errors='replace').strip()!r}; this version reads "
                f"{_FORMATS[-1].decode().strip()!r} and older: open it with the version of Headrace that wrote it"
            )
        for grave in self.path.glob("dropped-*") if self._changes else ():
            shutil.rmtree(grave, ignore_errors=True)

    def _check_keys(self, keyring: Keyring | None) -> None:
        """Raises `LogError` where frames may be sealed with a key that is not there. A key that is new is noted before any
        frame is sealed with it."""
        noted = self.path / "KEYS"
        held = noted.read_text().split() if noted.exists() else []
        known = [] if keyring is None else [f"{one:08x}" for one in keyring.ids]
        for one in held:
            if one not in known:
                raise LogError(
                    f"{self.path} is encrypted with the key {one}"
                    + (f", and the settings have {', '.join(known)}" if known else ", and the settings have none")
                    + ": set encryption_key, or encryption_keys_old for one that was in use before"
                )
        if self._changes and keyring is not None and f"{keyring.key_id:08x}" not in held:
            ids = [*held, f"{keyring.key_id:08x}"]
            self._disk.replace(noted, "".join(f"{one}\n" for one in ids).encode())
            self._raise_format(FORMAT_SEALED)

    def _raise_format(self, wanted: bytes) -> None:
        """From now on the directory is of this format, if it is not of a later one: older versions refuse it."""
        found = (self.path / "FORMAT").read_bytes()
        if _FORMATS.index(found) < _FORMATS.index(wanted):
            self._disk.replace(self.path / "FORMAT", wanted)
