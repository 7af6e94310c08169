"""Code as a zip archive: what is unpacked, and what is refused."""

from __future__ import annotations

import io
import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.functions import archive
from connectors.functions.archive import ArchiveError, digest, unpack


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in entries:
            file.writestr(name, content)
    return target.getvalue()


def entry(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def test_files_folders_and_executables(tmp_path: Path) -> None:
    content = zipped(("a/", b""), ("a/b.py", b"1"), (entry("bootstrap", stat.S_IFREG | 0o755), b"#!"), ("c..d", b""))
    root = unpack(content, tmp_path)
    assert (root / "a" / "b.py").read_bytes() == b"1"
    assert (root / "bootstrap").stat().st_mode & 0o111
    assert not (root / "a" / "b.py").stat().st_mode & 0o111
    assert unpack(content, tmp_path) == root
    assert list(tmp_path.iterdir()) == [root]
    assert len(digest(content)) == 44


def damaged(content: bytes) -> bytes:
    """The first entry's data are not what its checksum says."""
    return content[:60] + bytes([content[60] ^ 1]) + content[61:]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: b"", "Could not unzip uploaded file"),
        (lambda: b"no zip", "Could not unzip uploaded file"),
        (lambda: zipped(), "must be a non-empty zip"),
        (lambda: zipped(("../a.py", b"")), r"'\.\./a\.py' leads out"),
        (lambda: zipped(("a/../../b", b"")), "leads out"),
        (lambda: zipped(("a\\..\\..\\b", b"")), "leads out"),
        (lambda: zipped(("/etc/passwd", b"")), "leads out"),
        (lambda: zipped(("C:\\a", b"")), "leads out"),
        (lambda: zipped((entry("a", stat.S_IFLNK | 0o777), b"/etc")), "'a' is a symbolic link"),
        (lambda: zipped(("a", b""), ("a/b", b"")), "both a file and a folder"),
        (lambda: zipped(("a/b", b""), ("a", b"")), "both a file and a folder"),
        (lambda: zipped(("a", b"x" * 100))[:-30], "Could not unzip uploaded file"),
        (lambda: damaged(zipped(("a", bytes(range(256))))), "Could not unzip uploaded file"),
    ],
)
def test_what_is_refused_leaves_nothing(tmp_path: Path, content: Callable[[], bytes], words: str) -> None:
    folder = tmp_path / "code"
    with pytest.raises(ArchiveError, match=words):
        unpack(content(), folder)
    assert not list(folder.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["code"]


def test_a_bomb_is_counted_while_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "UNPACKED_SIZE_MAX", 1 << 20)
    content = zipped(("a", b"0" * (1 << 19)), ("b", b"0" * (1 << 19) + b"1"))
    with pytest.raises(ArchiveError, match="Unzipped size must be smaller than"):
        unpack(content, tmp_path)
    monkeypatch.setattr(archive, "ENTRIES_MAX", 1)
    with pytest.raises(ArchiveError, match="more than 1 entries"):
        unpack(content, tmp_path)


@given(st.binary(max_size=20), st.integers(0, 400), st.integers(0, 255))
def test_damage_is_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, tail: bytes, at: int, to: int) -> None:
    content = bytearray(zipped(("a.py", b"print(1)" * 20), ("b/c.py", b"pass")))
    content[at % len(content)] = to
    folder = tmp_path_factory.mktemp("code")
    try:
        root = unpack(bytes(content) + tail, folder)
    except ArchiveError:
        assert not list(folder.iterdir())
    else:
        assert list(folder.iterdir()) == [root]
