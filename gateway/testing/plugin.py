"""The pytest plugin, which pytest finds by itself where Headrace is installed.

It imports nothing of ours until a test asks for a fixture: whoever does not use it does not pay for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from gateway.testing import TestServer


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "headrace(**settings): settings of the server that the fixture headrace starts.")


@pytest.fixture
def headrace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestServer]:
    """A server of the test's own: `url`, `client("kinesis")`, `advance(seconds)`.

    While the test runs, AWS clients made in this process talk to it by themselves, through the environment. Settings come
    from the marker: ``@pytest.mark.headrace(limits="aws")``.
    """
    from gateway.testing import TestServer

    settings = {}
    for mark in reversed(list(request.node.iter_markers("headrace"))):
        settings.update(mark.kwargs)
    with TestServer(**settings) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server
