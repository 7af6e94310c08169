"""`App`: the log, the services over it and the one port in front of them, wired from the settings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from analytics.api.service import Analytics
from connectors.functions.api import Lambda
from connectors.functions.registry import Functions
from firehose import Firehose
from gateway.applications import ApplicationsDoor
from gateway.auth import Auth, check_exposed
from gateway.deliveries import Deliveries
from gateway.desk import Desk, Row
from gateway.forward import Forward
from gateway.private import PrivateDoor
from gateway.renewal import Renewal
from gateway.rest import RestDoor
from gateway.server import Server
from gateway.tls import Tls
from streams.control.journal import Journal
from streams.core.clock import Clock, SystemClock
from streams.core.errors import SettingsError
from streams.core.settings import Settings
from streams.opening import open_log
from streams.sdk.local import LocalClient
from streams.service import Service


class App:
    """A running headrace. `await App.start(settings)`, then `url`, then `stop`; or ``async with await App.start(…)``."""

    def __init__(self, service: Service, url: str, reload: Callable[[], None], parts: AsyncExitStack) -> None:
        self.service = service
        self.url = url
        self.reload = reload
        """Reads certificates and the credentials file again. What cannot be used is logged, and what was in force stays."""
        self._parts = parts

    @classmethod
    async def start(cls, settings: Settings, *, clock: Clock | None = None) -> Self:
        """Serves when it returns. Raises `SettingsError`, `LogError` where the data directory cannot be used, `OSError`
        where the address cannot be listened on; whatever had been opened is closed again."""
        check_exposed(settings)
        clock = clock or SystemClock()
        tls = Tls(settings, clock)
        forward = Forward(settings.worker) if settings.worker else None
        if forward is not None and not settings.log:
            raise SettingsError("setting worker needs a log that processes share: log = kafka://…")
        async with AsyncExitStack() as opening:
            log = await open_log(settings, settings.data_path / "log", clock)
            opening.push_async_callback(log.close)
            service = Service(log, clock=clock, settings=settings)
            opening.push_async_callback(service.close)
            await service.open()
            functions = Functions.of(settings)
            opening.push_async_callback(functions.close)
            functions.sweep()
            lambdas = Lambda(Journal(log, "control/functions"), functions, settings=settings, clock=clock)
            opening.push_async_callback(lambdas.close)
            if forward is None:
                await lambdas.open()
            firehose = Firehose(
                Journal(log, "control/firehose"),
                lambda scope: LocalClient(service, scope),
                settings=settings,
                clock=clock,
                functions=functions,
            )
            opening.push_async_callback(firehose.close)
            if forward is None:
                await firehose.open()
            else:
                opening.push_async_callback(forward.close)
            door = PrivateDoor(service, settings.scope, functions.invoke)
            opening.push_async_callback(door.stop)
            await door.start()
            analytics = Analytics(
                Journal(log, "control/applications"),
                lambda scope: LocalClient(service, scope),
                door.url,
                functions=functions,
                delivery_source=firehose.source,
                settings=settings,
                clock=clock,
            )
            opening.push_async_callback(analytics.close)
            if forward is None:
                await analytics.open()
            auth = Auth(settings, clock, service.resource_policy)
            desk = Desk(
                {
                    "Kinesis_20131202": Row("kinesis", service),
                    "Firehose_20150804": Row("firehose", firehose),
                    "AWSGlue": Row("glue", firehose.glue),
                    "KinesisAnalytics_20150814": Row("kinesisanalytics", analytics),
                    "KinesisAnalytics_20180523": Row("kinesisanalyticsv2", analytics.second, "kinesisanalytics"),
                },
                service,
                auth,
                ApplicationsDoor(analytics),
                forward,
                Deliveries(firehose, clock),
                RestDoor("lambda", lambdas, auth, secure=tls.context is not None),
            )
            server = Server(
                desk.handle,
                settings.host,
                settings.port,
                body_size_max=settings.body_size_max,
                body_timeout_s=settings.body_timeout_s,
                ssl=tls.context,
            )
            opening.push_async_callback(server.stop)
            await server.start()
            opening.push_async_callback(desk.stop)
            opening.push_async_callback(lambdas.interrupt)
            renewal = Renewal([tls.reload, auth.reload], clock)
            opening.push_async_callback(renewal.stop)
            renewal.start()
            url = _url(settings.host, server.port, secure=tls.context is not None)
            return cls(service, url, renewal.reload, opening.pop_all())
        raise AssertionError("unreachable")

    async def stop(self) -> None:
        """Answers what is in flight, then closes every room, the log last. Stopping twice does nothing."""
        await self._parts.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _url(host: str, port: int, *, secure: bool) -> str:
    """How this machine reaches what listens on `host`."""
    scheme = "https" if secure else "http"
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://[{reached}]:{port}" if ":" in reached else f"{scheme}://{reached}:{port}"
