"""For people's tests: a server in this process, and the pytest fixture that starts one (see docs/testing.md)."""

from __future__ import annotations

from gateway.testing.clock import TestClock
from gateway.testing.server import TestServer

__all__ = ["TestClock", "TestServer"]
