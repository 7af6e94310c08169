"""``headrace app``: SQL applications, through the API of Kinesis Data Analytics as any AWS tool speaks it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from analytics.api.specification import HISTORY
from gateway.cli import app_members, aws_call, output
from gateway.cli.app_watch import watch
from gateway.cli.connection import Target, connected
from gateway.cli.running import run
from gateway.cli.texts import text_of
from streams.core.scope import Scope

_PAGE = 50
WAIT_S = 60.0
"""How long a start or a stop is waited for; it goes on without the command."""
PAUSE_S = 0.1
POSITIONS = {"now": "NOW", "trim_horizon": "TRIM_HORIZON", "last": "LAST_STOPPED_POINT"}

Where = click.Choice(list(POSITIONS))


@click.group()
def app() -> None:
    """Make, start, change, watch and stop SQL applications."""


@app.command()
@click.argument("name")
@click.argument("program", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--input",
    "stream",
    metavar="STREAM",
    help="The stream to read, firehose:NAME for a delivery stream, or the ARN of a Kafka topic.",
)
@click.option("--prefix", default="SOURCE_SQL_STREAM", show_default=True, help="The program reads PREFIX_001.")
@click.option(
    "--schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file of the input's schema, as the API has it; else it is found in the stream's records.",
)
@click.option(
    "--to",
    "outputs",
    multiple=True,
    metavar="NAME=OUT",
    help="Put a stream out: NAME=stream:S, firehose:D, function:F, or the ARN of a Kafka topic.",
)
@click.option(
    "--history",
    multiple=True,
    metavar="DELIVERY_STREAM",
    help="Records that the stream no longer holds are read from what this one has delivered of it.",
)
@click.option("--csv", is_flag=True, help="Put rows out as lines of CSV, not as JSON objects.")
@click.option(
    "--request",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file with the members of CreateApplication, for all that has no option here.",
)
@connected
def create(
    target: Target,
    name: str,
    program: Path,
    stream: str | None,
    prefix: str,
    schema: Path | None,
    outputs: tuple[str, ...],
    history: tuple[str, ...],
    csv: bool,
    request: Path | None,
) -> None:
    """Make the application NAME of the SQL in PROGRAM; `headrace app start` runs it."""
    if (stream is None) == (request is None):
        raise click.UsageError("give either --input or --request")
    if stream is not None and "=" in stream:
        alone = stream.partition("=")[2]
        raise click.BadParameter(
            f"{stream!r} is not STREAM alone: the program reads it as {prefix}_001; try {alone}", param_hint="--input"
        )
    code = text_of(program)
    members: dict[str, Any] = app_members.read(request) if request is not None else {}
    scope = Scope(region=target.region)
    if stream is not None:
        source = app_members.source(scope, stream)
        found = app_members.read(schema) if schema is not None else _discovered(target, source)
        members["Inputs"] = [{"NamePrefix": prefix, "InputSchema": found, **source}]
        members["Outputs"] = [app_members.output(scope, text, csv=csv) for text in outputs]
    if history:
        members.setdefault("Tags", []).append({"Key": HISTORY, "Value": " ".join(history)})
    members["ApplicationCode"] = code
    _call(target, "create_application", ApplicationName=name, **members)
    output.talk(f"application {name} is there; headrace app start {name} runs it")


@app.command("list")
@connected
def list_(target: Target) -> None:
    """List the applications."""
    found = _summaries(target)
    if target.json:
        output.json_line([{"name": name, "status": status} for name, status in found])
    elif found:
        output.table(["application", "status"], found)
    else:
        output.talk("no applications yet; headrace app create NAME PROGRAM --input STREAM makes one")


@app.command()
@click.argument("name")
@click.option(
    "--from",
    "position",
    type=Where,
    help="now, trim_horizon (what the stream still holds) or last (where it stopped).  [last, at first now]",
)
@connected
def start(target: Target, name: str, position: str | None) -> None:
    """Run the application NAME until it is stopped, also through restarts of the server."""
    found = _describe(target, name)
    inputs = found["InputDescriptions"]
    ran = any("InputStartingPositionConfiguration" in each for each in inputs)
    where = POSITIONS[position or ("last" if ran else "now")]
    begin = {"InputStartingPositionConfiguration": {"InputStartingPosition": where}}
    configurations = [{"Id": each["InputId"], **begin} for each in inputs]
    _call(target, "start_application", ApplicationName=name, InputConfigurations=configurations)
    health = _wait(target, name, "STARTING")
    if health.get("error"):
        output.talk(f"application {name} was started and does not run yet: {health['error']}")
    else:
        output.talk(f"application {name} runs")


@app.command()
@click.argument("name")
@connected
def stop(target: Target, name: str) -> None:
    """Stop the application NAME; what it keeps stays, and `start` goes on there."""
    _call(target, "stop_application", ApplicationName=name)
    _wait(target, name, "STOPPING")
    output.talk(f"application {name} has stopped")


@app.command()
@click.argument("name")
@click.argument("program", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@connected
def update(target: Target, name: str, program: Path) -> None:
    """Give the application NAME the SQL in PROGRAM, also while it runs."""
    version = _describe(target, name)["ApplicationVersionId"]
    change = {"ApplicationCodeUpdate": text_of(program)}
    _call(
        target,
        "update_application",
        ApplicationName=name,
        CurrentApplicationVersionId=version,
        ApplicationUpdate=change,
    )
    _wait(target, name, "UPDATING")
    output.talk(f"application {name} has version {version + 1}")


@app.command()
@click.argument("name")
@connected
def describe(target: Target, name: str) -> None:
    """Show the application NAME: how it is, how far it has come, and what goes in and out."""
    detail, health = _describe(target, name), _health(target, name)
    if target.json:
        output.json_line({**detail, "Health": health})
        return
    rows: list[tuple[str, object]] = [
        ("status", detail["ApplicationStatus"]),
        ("version", detail["ApplicationVersionId"]),
    ]
    rows += [(f"input {each['InputId']}", app_members.shown(each)) for each in detail["InputDescriptions"]]
    rows += [(f"output {each['OutputId']}", app_members.shown(each)) for each in detail["OutputDescriptions"]]
    rows += [
        (f"reference {each['ReferenceId']}", app_members.shown(each))
        for each in detail["ReferenceDataSourceDescriptions"]
    ]
    rows += [(member.replace("_", " "), health[member]) for member in _SHOWN if health.get(member) is not None]
    output.table(["", ""], rows)
    click.echo(detail["ApplicationCode"].strip())


_SHOWN = ("error", "restarts", "pid", "records", "rows", "faulty", "behind", "frontier_ms")


@app.command()
@click.argument("name")
@click.argument("stream", required=False)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="End after N rows.")
@connected
def tail(target: Target, name: str, stream: str | None, limit: int | None) -> None:
    """Show rows of the application NAME as they are made: of the in-application stream STREAM, or of all and error_stream.

    It is a sample where there are very many. With --json every row is an object, {"stream": …, "row": {…}}. Ctrl-C ends
    it."""
    run(target, watch(target, name, stream, limit), endless=limit is None)


@app.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@connected
def delete(target: Target, name: str, yes: bool) -> None:
    """Delete the application NAME with its windows and positions."""
    created = _describe(target, name)["CreateTimestamp"]
    if not yes:
        click.confirm(f"Delete the application {name}?", abort=True, err=True)
    _call(target, "delete_application", ApplicationName=name, CreateTimestamp=created)
    output.talk(f"application {name} is gone")


def _discovered(target: Target, source: dict[str, Any]) -> Any:
    (given,) = source.values()
    position = {"InputStartingPosition": "TRIM_HORIZON"}
    found = _call(
        target,
        "discover_input_schema",
        ResourceARN=given["ResourceARN"],
        RoleARN=given["RoleARN"],
        InputStartingPositionConfiguration=position,
    )
    columns = [f"{each['Name']} {each['SqlType']}" for each in found["InputSchema"]["RecordColumns"]]
    output.talk(f"found in the records: {', '.join(columns)}")
    return found["InputSchema"]


def _describe(target: Target, name: str) -> Any:
    return _call(target, "describe_application", ApplicationName=name)["ApplicationDetail"]


def _health(target: Target, name: str) -> Any:
    async def ask() -> Any:
        async with target.http() as client:
            return await client.ask(f"/native/v1/applications/{quote(name, safe='')}")

    return run(target, ask())


def _wait(target: Target, name: str, passing: str) -> Any:
    """How the application is once its status is not `passing` any more."""

    async def ask() -> Any:
        end = time.monotonic() + WAIT_S
        async with target.http() as client:
            while True:
                health = await client.ask(f"/native/v1/applications/{quote(name, safe='')}")
                if health["status"] != passing or time.monotonic() > end:
                    return health
                await asyncio.sleep(PAUSE_S)

    return run(target, ask())


def _call(target: Target, operation: str, **members: Any) -> Any:
    """See `aws_call.call`."""
    return aws_call.call(
        *(target, "kinesisanalytics", operation, members, "ApplicationName"),
        lambda: [name for name, _ in _summaries(target)],
    )


def _summaries(target: Target) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    more: dict[str, str] = {}
    while True:
        page = _call(target, "list_applications", Limit=_PAGE, **more)
        found += [(each["ApplicationName"], each["ApplicationStatus"]) for each in page["ApplicationSummaries"]]
        if not page["HasMoreApplications"]:
            return found
        more = {"ExclusiveStartApplicationName": found[-1][0]}
