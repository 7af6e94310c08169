"""Delivered objects on this machine: fetched once, checked against their digest, and laid out by shard and offset.

    FOLDER/NUMBER/SHARD.arrow       the records of one shard, an Arrow file of batches, mapped when they are read
    FOLDER/NUMBER/SHARD.offsets     int64, one a record, rising
    FOLDER/NUMBER/SHARD.arrivals    the same

An object's records are in its own order there and a reader wants them in that of their shards, so they are sorted once, on
disk: memory holds a few thousand of them. What has not been read for longest makes room.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from connectors.delivered.contract import Contents, unpacked
from connectors.delivered.records import columns_of, records_of
from connectors.files import open_store
from streams.core.errors import HeadraceError

DISK_SIZE_MAX = 4 << 30
"""Bytes of unpacked objects: some dozen of the largest that a delivery stream writes."""
OPEN_MAX = 256
"""Objects that are mapped at a time, a quarter of the files that a process may usually have open."""
_BLOCK_SIZE = 1 << 20
_SCHEMA = pa.schema([pa.field("data", pa.binary())])


class Unreadable(HeadraceError):
    """An object is not there, or not what was put there, or its records cannot be told apart."""


@dataclass(slots=True)
class Part:
    """The records of one shard in an object: `offsets` rise; record i is in batch j for ``ends[j - 1] <= i < ends[j]``."""

    offsets: np.ndarray
    arrivals: np.ndarray
    batches: list[pa.Array]
    ends: np.ndarray

    def slice(self, first: int, end: int) -> pa.Array:
        """Binary: records [first, end), without a copy where they are in one batch."""
        found = []
        for number in range(int(np.searchsorted(self.ends, first, "right")), len(self.batches)):
            begin = int(self.ends[number]) - len(self.batches[number])
            if begin >= end:
                break
            skipped = max(0, first - begin)
            found.append(self.batches[number].slice(skipped, min(end - begin, len(self.batches[number])) - skipped))
        return found[0] if len(found) == 1 else pa.concat_arrays(found)


@dataclass(slots=True)
class _Object:
    folder: Path
    size: int
    parts: dict[str, Part] = field(default_factory=dict)


class Unpacking:
    """Under `folder`, which is its own: what is there is removed. One thread at a time."""

    def __init__(self, folder: Path, size_max: int = DISK_SIZE_MAX) -> None:
        self._folder = folder
        self._keys: Collection[str] = ()
        self._size_max = size_max
        self._objects: OrderedDict[str, _Object] = OrderedDict()
        self._numbers = itertools.count()
        shutil.rmtree(folder, ignore_errors=True)

    def spell(self, keys: Collection[str]) -> None:
        """`keys` are those of `records_of`; what is unpacked with others goes."""
        self._keys = keys
        for key in list(self._objects):
            self.forget(key)

    def unpack(self, contents: Contents) -> None:
        """Raises `Unreadable`."""
        self._objects[contents.key] = self._unpacked(contents)
        self._make_room()

    def part(self, key: str, shard: str) -> Part | None:
        """Of an object that is unpacked; None for any other."""
        found = self._objects.get(key)
        if found is None:
            return None
        self._objects.move_to_end(key)
        part = found.parts.get(shard)
        if part is None:
            part = found.parts[shard] = _mapped(found.folder, shard)
            self._let_go()
        return part

    def columns(self, contents: Contents) -> list[str] | None:
        """Of the rows of an object; None where it has records as they were. Raises `Unreadable`."""
        target = self._folder / f"{next(self._numbers)}.columns"
        try:
            self._fetch(contents, target)
            with target.open("rb") as file:
                return columns_of(file, contents.layout)
        except ValueError as error:
            raise Unreadable(f"{_named(contents)}: {error}") from error
        finally:
            target.unlink(missing_ok=True)

    def forget(self, key: str) -> None:
        """All of it has been read."""
        found = self._objects.pop(key, None)
        if found is not None:
            shutil.rmtree(found.folder, ignore_errors=True)

    def close(self) -> None:
        self._objects.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make_room(self) -> None:
        while len(self._objects) > 1 and sum(each.size for each in self._objects.values()) > self._size_max:
            self.forget(next(iter(self._objects)))

    def _let_go(self) -> None:
        mapped = [each for each in self._objects.values() if each.parts]
        for each in mapped[: max(0, len(mapped) - OPEN_MAX)]:
            each.parts = {}

    def _unpacked(self, contents: Contents) -> _Object:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir(parents=True)
        fetched = folder / "object"
        try:
            self._fetch(contents, fetched)
            with fetched.open("rb") as file:
                records = records_of(file, contents.layout, contents.records, self._keys)
                _lay_out(folder, contents, records)
        except ValueError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise Unreadable(f"{_named(contents)}: {error}") from error
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        fetched.unlink()
        return _Object(folder, sum(path.stat().st_size for path in folder.iterdir()))

    def _fetch(self, contents: Contents, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        try:
            with open_store(contents.store).open(contents.key) as source, target.open("wb") as copy:
                while block := source.read(_BLOCK_SIZE):
                    digest.update(block)
                    size += len(block)
                    copy.write(block)
        except FileNotFoundError as error:
            raise Unreadable(f"{_named(contents)} is not there: {contents.records:,} records were in it") from error
        except HeadraceError:
            raise
        except Exception as error:  # each store's library raises its own
            raise Unreadable(f"{_named(contents)} cannot be read: {error}") from error
        if size != contents.size:
            raise Unreadable(f"{_named(contents)} has {size} bytes, and {contents.size} were put there")
        if contents.sha256 and digest.hexdigest() != contents.sha256:
            raise Unreadable(f"{_named(contents)}: its bytes are not those that were put there")


def _named(contents: Contents) -> str:
    return f"object {contents.store.rstrip('/')}/{contents.key}"


def _lay_out(folder: Path, contents: Contents, records: Iterator[pa.Array]) -> None:
    """Raises ValueError."""
    layout = contents.layout
    total = sum(contents.counts)
    if total != contents.records:
        raise ValueError(f"its manifest names {total:,} offsets for {contents.records:,} records")
    arrivals = np.split(unpacked(layout.arrivals, total), np.cumsum(contents.counts)[:-1])
    offsets = _offsets(contents, total)
    shard_of = _order(contents, total)
    written = 0
    writers = [_writer(folder / f"{shard}.rows") for shard in layout.shards]
    try:
        for batch in records:
            if written + len(batch) > total:
                raise ValueError(f"it holds more than the {total:,} records that were put there")
            span = None if shard_of is None else shard_of[written : written + len(batch)]
            for number, (_, writer) in enumerate(writers):
                rows = batch if span is None else batch.filter(pa.array(span == number))
                if len(rows):
                    writer.write_batch(pa.RecordBatch.from_arrays([rows], schema=_SCHEMA))
            written += len(batch)
    finally:
        for file, writer in writers:
            writer.close()
            file.close()
    if written != total:
        raise ValueError(f"it holds {written:,} records, and {total:,} were put there")
    for shard, of_shard, times in zip(layout.shards, offsets, arrivals, strict=True):
        rows_path, path = folder / f"{shard}.rows", folder / f"{shard}.arrow"
        rising = np.argsort(of_shard, kind="stable")
        if (np.diff(of_shard) > 0).all():
            rows_path.rename(path)
        else:
            _sort(rows_path, path, rising)
        of_shard[rising].astype("<i8").tofile(folder / f"{shard}.offsets")
        times[rising].astype("<i8").tofile(folder / f"{shard}.arrivals")


def times_of(contents: Contents, shard: str) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (int64) and arrivals (int64, milliseconds) of a shard's records, in the order of the object."""
    total, number = sum(contents.counts), contents.layout.shards.index(shard)
    arrivals = np.split(unpacked(contents.layout.arrivals, total), np.cumsum(contents.counts)[:-1])
    return _offsets(contents, total)[number], arrivals[number]


def _offsets(contents: Contents, total: int) -> list[np.ndarray]:
    if contents.layout.offsets is not None:
        return list(np.split(unpacked(contents.layout.offsets, total), np.cumsum(contents.counts)[:-1]))
    return [unpacked(data, count) for data, count in zip(contents.offsets, contents.counts, strict=True)]


def _order(contents: Contents, total: int) -> np.ndarray | None:
    """The number of the shard of each record; None where there is one shard."""
    layout = contents.layout
    if layout.order is None:
        return None
    runs = unpacked(layout.order, 2 * layout.runs).reshape(-1, 2)
    found = np.repeat(runs[:, 0], runs[:, 1])
    if len(found) != total or not np.array_equal(np.bincount(found, minlength=len(layout.shards)), contents.counts):
        raise ValueError("its manifest names another order than the offsets that it holds")
    return found


def _writer(path: Path) -> tuple[pa.OSFile, pa.ipc.RecordBatchFileWriter]:
    file = pa.OSFile(str(path), "wb")
    return file, pa.ipc.new_file(file, _SCHEMA)


def _sort(source: Path, target: Path, rising: np.ndarray) -> None:
    """An error output, whose lines follow what went wrong; it is small beside the data."""
    rows = pa.ipc.open_file(pa.memory_map(str(source))).read_all().take(pa.array(rising))
    file, writer = _writer(target)
    writer.write_table(rows, max_chunksize=8_192)
    writer.close()
    file.close()
    source.unlink()


def _mapped(folder: Path, shard: str) -> Part:
    file = pa.ipc.open_file(pa.memory_map(str(folder / f"{shard}.arrow")))
    batches = [file.get_batch(number).column(0) for number in range(file.num_record_batches)]
    offsets, arrivals = (np.memmap(folder / f"{shard}.{what}", "<i8", "r") for what in ("offsets", "arrivals"))
    return Part(offsets, arrivals, batches, np.cumsum([len(batch) for batch in batches]))
