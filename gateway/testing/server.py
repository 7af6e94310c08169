"""A headrace in this process, on a free port, its data in a folder of its own: for tests and notebooks."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import uvloop

from gateway.app import App
from gateway.testing.clock import TestClock
from streams.core.errors import ExtraMissing, SettingsError
from streams.core.settings import load

T = TypeVar("T")

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
"""Any will do: a server without credentials in its settings checks no signatures."""


class TestServer:
    """Ready when the constructor returns; `stop` it, or use it in a ``with``.

    The server runs in a thread with an event loop of its own, so tests may be plain functions or coroutines. Its settings
    are those of `headrace serve`, by name, and no others; the log does not wait for the disk unless `log_sync` says so.
    Raises what `App.start` raises.
    """

    __test__ = False  # not a test, whatever its name says

    def __init__(self, **settings: Any) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = (
            None if "data" in settings else tempfile.TemporaryDirectory(prefix="headrace-")
        )
        if self._folder is not None:
            settings["data"] = self._folder.name
        try:
            self.settings = load(environment={}, options={"port": 0, "log_sync": "os"} | settings)
        except SettingsError:
            self._clean()
            raise
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="headrace", daemon=True)
        self._thread.start()
        try:
            self._run(self._start())
        except BaseException:
            self._end()
            raise
        self.url = self._app.url

    @property
    def environment(self) -> dict[str, str]:
        """What makes unmodified AWS clients in this environment talk to the server."""
        return {
            **CREDENTIALS,
            "AWS_DEFAULT_REGION": self.settings.region,
            "AWS_ENDPOINT_URL_KINESIS": self.url,
            "AWS_ENDPOINT_URL_FIREHOSE": self.url,
            "AWS_ENDPOINT_URL_LAMBDA": self.url,
            "AWS_ENDPOINT_URL_KINESIS_ANALYTICS": self.url,
            "AWS_ENDPOINT_URL_KINESIS_ANALYTICS_V2": self.url,
        }

    def client(self, service: str = "kinesis", **options: Any) -> Any:
        """A boto3 client of the server. Raises `ExtraMissing` where boto3 is not installed."""
        try:
            import boto3
        except ImportError:
            raise ExtraMissing("demo", "TestServer.client, with boto3,") from None
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=self.settings.region,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            **options,
        )

    def advance(self, seconds: float) -> None:
        """Sets the server's clock, and its applications', forward (or back); what waited for that time has been woken when
        this returns."""
        self._run(self._advance(seconds))

    def now_ms(self) -> int:
        """The server's time."""
        return self._clock.now_ms()

    def stop(self) -> None:
        """Stopping twice does nothing."""
        if not self._loop.is_closed():
            self._run(self._app.stop())
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _start(self) -> None:
        self._clock = TestClock()
        self._app = await App.start(self.settings, clock=self._clock)

    async def _advance(self, seconds: float) -> None:
        self._clock.advance(seconds)
        await self._app.analytics.set_clock(self._clock.ahead_ms)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._clean()

    def _clean(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
