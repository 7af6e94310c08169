from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.hashing import Router, explicit_hash_key, hash_key
from streams.core.records import HASH_KEY, Records
from streams.core.shards import HASH_KEY_MAX, HashRange

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def expected(ranges: list[HashRange], key: str, explicit: int | None = None) -> int:
    """By arithmetic on numbers, the slow way."""
    number = int(hashlib.md5(key.encode()).hexdigest(), 16) if explicit is None else explicit
    return next(index for index, hash_range in enumerate(ranges) if number in hash_range)


@given(st.integers(1, 300), st.lists(st.tuples(KEYS, st.none() | st.integers(0, HASH_KEY_MAX)), max_size=30))
def test_routes_agree_with_the_arithmetic_of_hash_keys(count: int, keys: list[tuple[str, int | None]]) -> None:
    ranges = HashRange.divide(count)
    router = Router([hash_range.first.to_bytes(16, "big") for hash_range in ranges])
    names = [key for key, _ in keys]
    hash_keys = [None if number is None else number.to_bytes(16, "big") for _, number in keys]
    wanted = [expected(ranges, key, number) for key, number in keys]
    assert router.route(names, hash_keys) == wanted
    assert [router.route_one(key, explicit) for key, explicit in zip(names, hash_keys, strict=True)] == wanted
    assert router.route_arrow(Records.of(names, [b""] * len(keys), hash_keys)).tolist() == wanted
    assert router.route(names) == [expected(ranges, key) for key in names]


@pytest.mark.parametrize("unique", [3, 5000])
def test_keys_that_repeat_and_keys_that_do_not_go_the_same_way(unique: int) -> None:
    keys = [f"key-{place % unique}" for place in range(5000)]
    router = Router([hash_range.first.to_bytes(16, "big") for hash_range in HashRange.divide(7)])
    records = Records.of(keys, [b"x"] * len(keys))
    routes = router.route_arrow(records)
    assert routes.dtype == np.int32
    assert routes.tolist() == router.route(keys) == [router.route_one(key) for key in keys]
    assert router.route_arrow(records.slice(100, 50)).tolist() == router.route(keys)[100:150]


def test_hash_keys_of_a_column_may_be_missing_everywhere() -> None:
    router = Router([hash_range.first.to_bytes(16, "big") for hash_range in HashRange.divide(3)])
    records = Records(pa.array([b"a"]), pa.array(["k"]), pa.array([None], HASH_KEY))
    assert router.route_arrow(records).tolist() == router.route(["k"])


def test_the_bounds_of_a_range_belong_to_it() -> None:
    ranges = HashRange.divide(3)
    router = Router([hash_range.first.to_bytes(16, "big") for hash_range in ranges])
    for index, hash_range in enumerate(ranges):
        assert router.route_one("any", hash_range.first.to_bytes(16, "big")) == index
        assert router.route_one("any", hash_range.last.to_bytes(16, "big")) == index


def test_md5_of_a_key_is_its_hash_key() -> None:
    assert hash_key("key").hex() == hashlib.md5(b"key").hexdigest()
    assert hash_key("ключ") == hashlib.md5("ключ".encode()).digest()


@pytest.mark.parametrize("text", ["", "-1", "1.0", "x", str(HASH_KEY_MAX + 1), "9" * 60, "٣", " 1"])
def test_what_is_no_hash_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a hash key"):
        explicit_hash_key(text)


def test_explicit_hash_keys_are_decimal() -> None:
    assert explicit_hash_key("0") == bytes(16)
    assert explicit_hash_key(str(HASH_KEY_MAX)) == b"\xff" * 16
