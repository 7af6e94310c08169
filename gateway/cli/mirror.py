"""``headrace stream mirror``: follows a stream of any Kinesis endpoint into a stream of the server."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import click

from connectors.kinesis import CALLS_MAX, KinesisSource, SourceRefused
from connectors.mirror import Mirror
from gateway.cli import output
from gateway.cli.connection import Target, connected, find_stream
from gateway.cli.failure import Failure
from gateway.cli.running import run
from gateway.cli.tail import starting_point
from gateway.cli.times import FORMS
from streams.core.brokers import brokers_of, connection_options
from streams.core.errors import ExtraMissing, SettingsError
from streams.core.exchange import LATEST, TRIM_HORIZON
from streams.sdk.client import Client, Start

REPORT_S = 10.0
"""How often it says how far it is."""


@click.command()
@click.argument("name")
@click.argument("into")
@click.option(
    "--source-endpoint", metavar="URL", help="Where the stream NAME is.  [AWS's own endpoint of the source region]"
)
@click.option("--from-kafka", metavar="URL", help="NAME is a topic of these brokers: kafka://host:9092?security=…")
@click.option("--to-kafka", metavar="URL", help="INTO is a topic of these brokers, and NAME a stream of the server.")
@click.option("--source-region", metavar="REGION", help="Region of the source.  [what AWS's tools use, else --region]")
@click.option("--source-profile", metavar="PROFILE", help="AWS profile for the source.  [what AWS's tools use]")
@click.option("--source-ca", type=click.Path(dir_okay=False), help="Certificates to trust (PEM) for the source.")
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that remembers how far it is.  [./INTO.mirror.json]",
)
@click.option(
    "--from",
    "start",
    callback=starting_point,
    default="trim_horizon",
    show_default=True,
    metavar="START",
    help=f"Where a new mirror begins: trim_horizon, latest, {FORMS}.",
)
@click.option("--create", is_flag=True, help="Make the stream INTO, with as many shards, if there is none.")
@click.option("--follow/--no-follow", default=True, show_default=True, help="Go on with what will come.")
@connected
def mirror(
    target: Target,
    name: str,
    into: str,
    source_endpoint: str | None,
    from_kafka: str | None,
    to_kafka: str | None,
    source_region: str | None,
    source_profile: str | None,
    source_ca: str | None,
    state: Path | None,
    start: Start,
    *,
    create: bool,
    follow: bool,
) -> None:
    """Follow the stream NAME of a Kinesis endpoint, and put its records into the stream INTO of the server.

    Each record exactly once and in order, whatever is killed and whenever: run it again with the same state file. Children
    of splits and merges come after their parents. Without --source-endpoint the source is AWS.

    \b
    headrace stream mirror orders orders --from-kafka kafka://k1:9092          a Kafka topic into a stream
    headrace stream mirror clicks clicks --to-kafka kafka://k1:9092            a stream into a Kafka topic

    Into a topic each record goes once for readers of committed records (isolation.level=read_committed); how far it is, the
    cluster remembers, in the topic INTO.headrace-mirror."""
    given = {"--source-endpoint": source_endpoint, "--from-kafka": from_kafka, "--to-kafka": to_kafka}
    if len(named := [option for option, value in given.items() if value is not None]) > 1:
        raise Failure(f"{' and '.join(named)} do not go together")
    if to_kafka is not None:
        if create or state is not None:
            raise Failure("--create and --state are of mirrors into a stream")
        count = run(target, _to_topic(target, name, into, to_kafka, start, follow=follow), endless=follow)
        _report(target, count, name, into)
        return
    file = state or Path(f"{into}.mirror.json")
    at_ms = round(time.time() * 1000) if start == LATEST else None if start == TRIM_HORIZON else start.timestamp_ms
    source, identity = _followed(
        target,
        name,
        from_kafka,
        lambda: _source(source_endpoint, source_region, source_profile, source_ca, target.region),
    )
    if identity.rstrip("/") == target.endpoint and name == into:
        raise Failure("a stream cannot be mirrored into itself", hint="name another stream INTO")

    async def work() -> int:
        try:
            async with target.client() as client:
                if create:
                    await _made(client, into, source)
                await find_stream(client, into)
                mirror = Mirror(source, client, into, file, identity=identity, stream=name, start_ms=at_ms)
                async with _reporting(mirror):
                    await mirror.run(follow=follow)
                return mirror.progress.records
        except SourceRefused as refused:
            raise Failure(refused.message) from refused
        finally:
            source.close()

    _report(target, run(target, work(), endless=follow), name, into)


def _report(target: Target, count: int | None, name: str, into: str) -> None:
    if count is None:
        return
    if target.json:
        output.json_line({"records": count})
    else:
        output.talk(f"{count} records of {name} put into {into}")


def _followed(target: Target, name: str, kafka: str | None, client: Callable[[], Any]) -> tuple[Any, str]:
    """What is followed, and which endpoint that is. Raises `Failure`."""
    if kafka is None:
        botocore_client = client()
        return KinesisSource(botocore_client, name), botocore_client.meta.endpoint_url
    try:
        from connectors.kafka_topic import KafkaTopicSource

        brokers = brokers_of(kafka)
        connection_options(brokers.security)
    except (SettingsError, ExtraMissing) as error:
        raise Failure(error.message) from error
    return KafkaTopicSource(brokers, name), f"kafka://{brokers}"


async def _to_topic(target: Target, stream: str, topic: str, url: str, start: Start, *, follow: bool) -> int:
    try:
        from connectors.kafka_mirror import TopicMirror

        brokers = brokers_of(url)
        connection_options(brokers.security)
    except (SettingsError, ExtraMissing) as error:
        raise Failure(error.message) from error
    async with target.client() as client:
        await find_stream(client, stream)
        mirror = TopicMirror(client, stream, brokers, topic, start=start)
        await mirror.run(follow=follow)
        return mirror.records


def _source(endpoint: str | None, region: str | None, profile: str | None, ca: str | None, default_region: str) -> Any:
    """A botocore client. Raises `Failure`."""
    import botocore.config
    import botocore.session
    from botocore.exceptions import BotoCoreError

    try:
        session = botocore.session.Session(profile=profile)
        credentials = session.get_credentials()
        if credentials is None and endpoint is None:
            raise Failure("there are no credentials for AWS", hint="aws configure, or --source-profile")
        dummy = {"aws_access_key_id": "headrace", "aws_secret_access_key": "headrace"} if credentials is None else {}
        return session.create_client(
            "kinesis",
            endpoint_url=endpoint,
            region_name=region or session.get_config_variable("region") or default_region,
            verify=ca,
            config=botocore.config.Config(
                retries={"total_max_attempts": 1}, connect_timeout=5, max_pool_connections=CALLS_MAX
            ),
            **dummy,
        )
    except (BotoCoreError, ValueError) as error:
        raise Failure(f"the source cannot be used: {error}") from error


async def _made(client: Client, into: str, source: Any) -> None:
    if into in await client.list_streams():
        return
    await source.created()  # asks once: a wrong endpoint is told, and not waited for
    await client.create_stream(into, max(1, sum(shard.open for shard in await source.shards())))


@contextlib.asynccontextmanager
async def _reporting(mirror: Mirror) -> AsyncIterator[None]:
    """Says from time to time how far it is."""

    async def report() -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            behind_s = max(mirror.progress.behind_ms.values(), default=0) / 1000
            output.talk(f"{mirror.progress.records} records put, {behind_s:.0f} s behind")

    task = asyncio.create_task(report())
    try:
        yield
    finally:
        task.cancel()
