"""Buckets as the server would open them, for commands that read objects themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from connectors.files import Store, open_store
from streams.core.settings import Settings


def stores(chosen: Settings) -> Callable[[str], Store]:
    """The store of a bucket's name."""

    @cache
    def opened(bucket: str) -> Store:
        return open_store(chosen.buckets.get(bucket) or str(chosen.data_path / "buckets" / bucket))

    return opened
