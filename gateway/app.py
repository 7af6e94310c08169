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
from gateway.advertised import advertised
from gateway.applications import ApplicationsDoor
from gateway.auth import Auth, check_exposed
from gateway.delivered import DeliveredDoor
from gateway.deliveries import Deliveries
from gateway.desk import Desk, Row
from gateway.private import PrivateDoor
from gateway.renewal import Renewal
from gateway.rest import RestDoor
from gateway.server import Server
from gateway.sharing import Sharing
from gateway.tls import Tls
from streams.control.depot import open_depot
from streams.control.divided import DividedJournal
from streams.control.followed import FollowedJournal
from streams.control.journal import Journal
from streams.control.notebook import open_notebooks
from streams.core.clock import Clock, SystemClock
from streams.core.settings import Settings
from streams.core.work import ALONE, FUNCTIONS, Work
from streams.log.log import Log
from streams.opening import open_log, open_membership
from streams.sdk.local import LocalClient
from streams.service import Service


class App:
    """A running headrace. `await App.start(settings)`, then `url`, then `stop`; or ``async with await App.start(…)``."""

    def __init__(
        self,
        service: Service,
        analytics: Analytics,
        url: str,
        reload: Callable[[], None],
        parts: AsyncExitStack,
        work: Work,
    ) -> None:
        self.service = service
        self.analytics = analytics
        self.work = work
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
        async with AsyncExitStack() as opening:
            log = await open_log(settings, settings.data_path / "log", clock)
            opening.push_async_callback(log.close)
            membership = await open_membership(log, settings, opening)
            work = membership or ALONE
            depot = open_depot(log, settings.depot)
            service = Service(log, clock=clock, settings=settings, work=work)
            opening.push_async_callback(service.close)
            await service.open()
            functions = Functions.of(settings)
            opening.push_async_callback(functions.close)
            functions.sweep()
            lambdas = Lambda(
                _functions_journal(log, clock, work),
                functions,
                settings=settings,
                clock=clock,
                depot=depot,
                secret=service.secret("links to code"),
            )
            opening.push_async_callback(lambdas.close)
            await lambdas.open()
            firehose = Firehose(
                DividedJournal(log, "control/firehose"),
                lambda scope: LocalClient(service, scope),
                settings=settings,
                clock=clock,
                functions=functions,
                work=work,
                depot=depot,
                notebooks=open_notebooks(log),
            )
            opening.push_async_callback(firehose.close)
            await firehose.open()
            delivered = DeliveredDoor(firehose)
            door = PrivateDoor(service, settings.scope, functions.invoke, delivered)
            opening.push_async_callback(door.stop)
            await door.start()
            analytics = Analytics(
                DividedJournal(log, "control/applications"),
                lambda scope: LocalClient(service, scope),
                door.url,
                functions=functions,
                delivery_source=firehose.source,
                settings=settings,
                clock=clock,
                work=work,
                depot=depot,
            )
            opening.push_async_callback(analytics.close)
            await analytics.open()
            forward = None
            if membership is not None:
                from gateway.forward import Forward  # with a client: a process alone starts without

                forward = Forward(membership)
                opening.push_async_callback(forward.close)
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
                work,
                Deliveries(firehose, clock),
                RestDoor("lambda", lambdas, auth, secure=tls.context is not None),
                delivered,
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
            secure = tls.context is not None
            url = _url(settings.host, server.port, secure=secure)
            if membership is not None:
                advertise = settings.advertise or advertised(settings.log, settings.host, server.port, secure=secure)
                await membership.start(advertise, Sharing([service, firehose, analytics, lambdas], clock).moved)
                opening.push_async_callback(membership.hold)
            return cls(service, analytics, url, renewal.reload, opening.pop_all(), work)
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


def _functions_journal(log: Log, clock: Clock, work: Work) -> Journal | FollowedJournal:
    name = "control/functions"
    return FollowedJournal(log, name, FUNCTIONS, clock, work) if log.shared else DividedJournal(log, name)


def _url(host: str, port: int, *, secure: bool) -> str:
    """How this machine reaches what listens on `host`."""
    scheme = "https" if secure else "http"
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://[{reached}]:{port}" if ":" in reached else f"{scheme}://{reached}:{port}"
