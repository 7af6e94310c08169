"""Create, change, start, stop, delete: what both APIs do, each in its own words around it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from analytics.api.catalog import Application, Catalog
from analytics.api.changes import Change, reads_another
from analytics.api.configuration import function_of
from analytics.api.context import Context
from analytics.api.errors import InvalidApplicationConfiguration
from analytics.api.events import Begin, Changed, Configuration, Created, Deleting, Event, Started, Stopped
from analytics.api.specification import reference_url, source_of, target_of, topic_in
from connectors.kafka_clusters import TopicAt
from streams.core.errors import (
    ConcurrentModification,
    InvalidArgument,
    LimitExceeded,
    LogUnreachable,
    ResourceInUse,
    ResourceNotFound,
    SettingsError,
)
from streams.core.scope import Scope
from streams.core.work import application_item, part_of

APPLICATIONS_MAX = 1_000
"""Applications of one account and region: each that runs is a process, and far fewer fill a machine."""


async def create(
    context: Context, scope: Scope, name: str, begun: Configuration, changes: Sequence[Change], tags: dict[str, str]
) -> Application:
    """`changes` make the first version of what was `begun`."""
    _check_new(context.book.catalog, scope, name)
    configuration = begun
    for change in changes:
        configuration = change(configuration, 1)
    await context.check_code(configuration)

    def decide(catalog: Catalog, now_ms: int) -> tuple[None, list[Event]]:
        _check_new(catalog, scope, name)
        created = Created(
            number=context.book.next_number(part_of(application_item(scope, name)), catalog.next_number),
            at_ms=now_ms,
            account=scope.account,
            region=scope.region,
            name=name,
            configuration=configuration,
            tags=tags,
        )
        return None, [created]

    await context.book.execute(decide)
    return context.application(scope, name)


def _check_new(catalog: Catalog, scope: Scope, name: str) -> None:
    if catalog.get(scope, name) is not None:
        raise ResourceInUse(f"Application already exists: {scope.application_arn(name)}.")
    if len(catalog.names(scope)) >= APPLICATIONS_MAX:
        raise LimitExceeded(f"Account {scope.account} has {APPLICATIONS_MAX} applications in {scope.region} already.")


async def change(context: Context, application: Application, version: int, *changes: Change) -> Application:
    """All of them as one new version, also while it runs. `version` is the one that the caller knows."""
    context.check_status(application, "READY", "RUNNING")
    _check_version(application, version)
    before = after = application.configuration
    for each in changes:
        after = each(after, version + 1)
    if (after.code, after.inputs, after.references) != (before.code, before.inputs, before.references):
        await context.check_code(after)

    def decide(_catalog: Catalog, now_ms: int) -> tuple[None, list[Event]]:
        _check_version(application, version)
        context.check_status(application, "READY", "RUNNING")
        return None, [Changed(application.number, now_ms, after, reads_another(before, after))]

    await context.book.execute(decide)
    if application.running:
        context.renewed(application)
    return application


def _check_version(application: Application, version: int) -> None:
    if version != application.version:
        raise ConcurrentModification(
            f"Application {application.arn} is at version {application.version}, and not at {version}: it was changed "
            "meanwhile. Describe it, and ask again."
        )


async def start(context: Context, application: Application, positions: Mapping[str, str]) -> None:
    """`positions` by input id."""
    context.check_status(application, "READY")
    configuration = application.configuration
    known = [given["Id"] for given in configuration.inputs]
    for identity in positions:
        if identity not in known:
            raise InvalidArgument(f"The application has no input with the id {identity}.")
    begun_ms = context.clock.now_ms()
    await _check_runnable(context, application)

    def decide(_catalog: Catalog, now_ms: int) -> tuple[None, list[Event]]:
        context.check_status(application, "READY")
        begins = {identity: Begin(positions.get(identity, "NOW"), begun_ms) for identity in known}
        return None, [Started(application.number, now_ms, begins)]

    await context.book.execute(decide)
    if application.running:  # else it was deleted in this very moment
        context.started(application)


async def _check_runnable(context: Context, application: Application) -> None:
    """Raises `InvalidApplicationConfiguration` for what would not run, or not without something that is not there."""
    configuration, scope = application.configuration, application.scope
    if not configuration.inputs:
        raise InvalidApplicationConfiguration(f"Application {application.arn} has no input.")
    if not configuration.code.strip():
        raise InvalidApplicationConfiguration(f"Application {application.arn} has no code.")
    streams = await context.check_code(configuration)
    client = context.client_for(scope)
    try:
        needed: list[str] = []
        topics: list[TopicAt] = []

        def need(given: Mapping[str, Any], stream: str | None) -> None:
            topic = topic_in(given, context.settings)
            if topic is not None:
                topics.append(topic)
            elif stream is not None:
                needed.append(stream)

        for given in configuration.inputs:
            need(given, source_of(given, scope, context.delivery_source)[1])
        for given in configuration.outputs:
            if given["Name"] not in streams:
                raise InvalidArgument(
                    f"Output {given['Id']}: the code makes no stream {given['Name']}; it makes {', '.join(streams)}."
                )
            need(given, target_of(given, scope, context.delivery_source))
        for given in configuration.references:
            reference_url(given["S3ReferenceDataSource"], context.settings)
        for arn in _functions(configuration):
            if arn not in context.functions:
                raise InvalidArgument(
                    f"Function {function_of(arn)} does not exist: create it, or name it in the setting 'functions'."
                )
    except InvalidArgument as error:
        raise InvalidApplicationConfiguration(error.message) from error
    for stream in needed:
        try:
            await client.describe_stream(stream)
        except ResourceNotFound as error:
            raise InvalidApplicationConfiguration(f"Stream {scope.stream_arn(stream)} was not found.") from error
    for topic in topics:
        await _check_topic(context, topic)


async def _check_topic(context: Context, topic: TopicAt) -> None:
    try:
        reader = topic.client(context.clock)
        try:
            await reader.describe_stream(topic.topic)
        finally:
            await reader.close()
    except (InvalidArgument, LogUnreachable, ResourceNotFound, SettingsError) as error:
        raise InvalidApplicationConfiguration(f"Topic {topic.arn} cannot be used: {error.message}") from error


def _functions(configuration: Configuration) -> list[str]:
    arns = [
        given["InputProcessingConfiguration"]["InputLambdaProcessor"]["ResourceARN"]
        for given in configuration.inputs
        if "InputProcessingConfiguration" in given
    ]
    arns += [given["LambdaOutput"]["ResourceARN"] for given in configuration.outputs if "LambdaOutput" in given]
    return arns


async def stop(context: Context, application: Application) -> None:
    """One that is still starting can be stopped too."""
    allowed = ("RUNNING", "STARTING")
    context.check_status(application, *allowed)

    def decide(_catalog: Catalog, now_ms: int) -> tuple[None, list[Event]]:
        context.check_status(application, *allowed)
        return None, [Stopped(application.number, now_ms)]

    await context.book.execute(decide)
    context.stopped(application)


async def delete(context: Context, application: Application, created_s: float) -> None:
    """Also one that runs. `created_s` must be when it was created: clients send it in whole seconds."""
    if int(created_s) != application.created.at_ms // 1000:
        raise InvalidArgument(
            f"Application {application.arn} was created at {application.created.at_ms / 1000}, and not at {created_s}."
        )
    if application.deleting:
        raise ResourceInUse(f"Application {application.arn} is DELETING.")
    await context.book.execute(lambda _catalog, now_ms: (None, [Deleting(application.number, now_ms)]))
    idle = application.number not in context.supervisors
    ending = context.stopped(application)
    if idle:
        await asyncio.shield(ending)


def begin_of(given: Any) -> str:
    """The starting position that a request says."""
    position = getattr(given, "input_starting_position", None)
    return "NOW" if position is None else str(position)
