"""Stores: whole, once, durable, and never outside."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

import fsspec
import pytest

from connectors.files import LocalStore, RemoteStore, Store, open_store, safe_key
from streams.core.errors import ExtraMissing


@pytest.fixture(params=["local", "memory", "remote"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """`remote` is a file system that shows a file while it is being written."""
    name = uuid.uuid4().hex
    if request.param == "local":
        return open_store(str(tmp_path / "bucket"))
    if request.param == "memory":
        return open_store(f"memory://{name}")
    return RemoteStore(fsspec.filesystem("file"), str(tmp_path / "bucket"))


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    path = tmp_path / "staged"
    path.write_bytes(b"content")
    return path


def test_an_object_appears_whole_and_again_is_the_same(store: Store, staged: Path) -> None:
    assert not store.has("a/b/c", 7)
    store.publish(staged, "a/b/c")
    store.publish(staged, "a/b/c")
    assert store.has("a/b/c", 7)
    assert not store.has("a/b/c", 8)


def test_objects_are_listed_sized_and_read(store: Store, staged: Path) -> None:
    assert store.keys("") == []
    for key in ("a/1", "a/b/2", "ab/3", "../up"):
        store.publish(staged, key)
    assert store.keys("") == sorted(["%2E%2E/up", "a/1", "a/b/2", "ab/3"])
    assert store.keys("a") == ["a/1", "a/b/2", "ab/3"]
    assert store.keys("a/") == ["a/1", "a/b/2"]
    assert store.keys("none/") == []
    assert (store.size("a/b/2"), store.size("a/none")) == (7, None)
    with store.open("a/b/2") as file:
        assert file.read() == b"content"
    with pytest.raises(FileNotFoundError):
        store.open("a/none")


def test_a_local_object_is_a_link_and_outlives_the_staged_file(tmp_path: Path, staged: Path) -> None:
    LocalStore(tmp_path / "bucket").publish(staged, "a/b")
    target = tmp_path / "bucket" / "a" / "b"
    assert target.stat().st_ino == staged.stat().st_ino
    staged.unlink()
    assert target.read_bytes() == b"content"


def test_another_file_of_the_name_is_not_overwritten(tmp_path: Path, staged: Path) -> None:
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "a").write_bytes(b"somebody else's")
    with pytest.raises(FileExistsError):
        LocalStore(tmp_path / "bucket").publish(staged, "a")
    assert (tmp_path / "bucket" / "a").read_bytes() == b"somebody else's"


def test_across_file_systems_a_copy_is_renamed(tmp_path: Path, staged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    store = LocalStore(tmp_path / "bucket")
    store.publish(staged, "a/b")
    store.publish(staged, "a/b")
    assert [path.name for path in (tmp_path / "bucket" / "a").iterdir()] == ["b"]
    assert (tmp_path / "bucket" / "a" / "b").read_bytes() == b"content"


@pytest.mark.parametrize(
    ("key", "safe"),
    [
        ("a/b", "a/b"),
        ("/a//b", "a/b"),
        ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd"),
        ("a/./b/...", "a/%2E/b/%2E%2E%2E"),
        ("a\0b", "a%00b"),
        ("..a/b..", "..a/b.."),
    ],
)
def test_keys_stay_inside(key: str, safe: str, tmp_path: Path, staged: Path) -> None:
    assert safe_key(key) == safe
    LocalStore(tmp_path / "bucket").publish(staged, key)
    assert (tmp_path / "bucket" / safe).is_file()


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(url: str) -> None:
        raise ImportError(url)

    monkeypatch.setattr(fsspec, "url_to_fs", missing)
    with pytest.raises(ExtraMissing, match=r"pip install 'headrace\[s3\]'"):
        open_store("s3://bucket")
