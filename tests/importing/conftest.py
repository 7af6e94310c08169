from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.testing import TestServer


@pytest.fixture(scope="session")
def headrace_server() -> Iterator[TestServer]:
    """One server for all definitions."""
    with TestServer() as server:
        yield server
