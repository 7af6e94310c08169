"""``headrace firehose explain``: what would become of a record, before anything is created or put."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import botocore.exceptions
import click
import msgspec

from connectors.functions import query
from connectors.functions.pool import FunctionPool
from connectors.functions.registry import Functions
from firehose.configuration import complete
from firehose.conversion import Conversion
from firehose.events import EXTENDED_S3, HTTP_ENDPOINT, ColumnSpec
from firehose.explaining import Explainer, Explanation
from firehose.query import TIMEOUT_S, check_query
from firehose.resources import table_columns
from gateway.cli import output
from gateway.cli.connection import Target, connected
from gateway.cli.failure import Failure
from gateway.cli.firehose_call import call
from gateway.cli.settings_options import settings_file
from streams.core import settings
from streams.core.clock import SystemClock
from streams.core.errors import HeadraceError
from streams.core.scope import Scope
from streams.core.settings import Settings

_MEMBERS = {
    "S3DestinationConfiguration": EXTENDED_S3,
    "ExtendedS3DestinationConfiguration": EXTENDED_S3,
    "HttpEndpointDestinationConfiguration": HTTP_ENDPOINT,
}
_SHOWN_MAX = 400
"""Characters of a record that are shown to people."""


@click.command()
@click.argument("name", required=False)
@click.option(
    "--record",
    "records",
    multiple=True,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File that holds one record; give it as often as there are records.",
)
@click.option("--lines", is_flag=True, help="Each line of the files is a record.")
@click.option(
    "--request",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file with the members of CreateDeliveryStream, instead of a delivery stream that exists.",
)
@settings_file("Settings file (TOML) that names the functions.")
@connected
def explain(
    target: Target, name: str | None, records: tuple[Path, ...], lines: bool, request: Path | None, file: Path | None
) -> None:
    """Show what would become of records: their partition keys, the row of the schema, the name of the object, or the error
    output and why.

    Give the delivery stream NAME, or with --request one that does not exist yet. Functions and jq queries are run here;
    nothing is created, put or delivered. A table's schema is asked of the server."""
    if (name is None) == (request is None):
        raise click.UsageError("give either the NAME of a delivery stream or --request")
    try:
        chosen = settings.load(file)
        kind, given, source_arn, tags = _described(target, name) if name is not None else _requested(request)
        configuration = complete(kind, given, chosen.firehose_compat)
        samples = _samples(records, lines=lines)
        found = asyncio.run(
            _explained(
                target, chosen, name or "NAME", kind, configuration, source_arn, tags, [data for _, data in samples]
            )
        )
    except HeadraceError as error:
        raise Failure(error.message) from error
    for one in found:
        _show(target, samples[one.sample][0], one)


def _samples(paths: tuple[Path, ...], *, lines: bool) -> list[tuple[str, bytes]]:
    """Title and bytes of each record. The line feed that editors leave at the end of a file is none of a record's."""
    samples = []
    for path in paths:
        data = path.read_bytes().removesuffix(b"\n")
        if not lines:
            samples.append((str(path), data))
            continue
        samples += [(f"{path}, line {number}", line) for number, line in enumerate(data.split(b"\n"), 1)]
    return samples


def _requested(request: Path | None) -> tuple[str, dict[str, Any], str | None, dict[str, str]]:
    assert request is not None, "either is given"
    try:
        members = msgspec.json.decode(request.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Failure(f"{request} is not a JSON object: {error}") from error
    given = [member for member in members if member.endswith("DestinationConfiguration")]
    if len(given) != 1 or given[0] not in _MEMBERS:
        raise Failure(
            f"{request} names {', '.join(given) or 'no destination'}", hint=f"it needs one of {', '.join(_MEMBERS)}"
        )
    source = _source_arn(members, "Configuration")
    tags = {tag["Key"]: tag.get("Value", "") for tag in members.get("Tags", ())}
    return _MEMBERS[given[0]], members[given[0]], source, tags


def _described(target: Target, name: str) -> tuple[str, dict[str, Any], str | None, dict[str, str]]:
    """As the server tells it, under the names of a request: type, destination, ARN of the source, tags."""
    listed = call(target, "list_tags_for_delivery_stream", DeliveryStreamName=name)["Tags"]
    tags = {tag["Key"]: tag.get("Value", "") for tag in listed}
    description = call(target, "describe_delivery_stream", DeliveryStreamName=name)["DeliveryStreamDescription"]
    source = _source_arn(description.get("Source", {}), "Description")
    (destination,) = description["Destinations"]
    http = destination.get("HttpEndpointDestinationDescription")
    if http is not None:
        http["S3Configuration"] = http.pop("S3DestinationDescription")
        return HTTP_ENDPOINT, http, source, tags
    extended = destination["ExtendedS3DestinationDescription"]
    if "S3BackupDescription" in extended:
        extended["S3BackupConfiguration"] = extended.pop("S3BackupDescription")
    return EXTENDED_S3, extended, source, tags


def _source_arn(members: dict[str, Any], end: str) -> str | None:
    """Of a stream, or of the cluster of a topic."""
    stream, topic = members.get(f"KinesisStreamSource{end}", {}), members.get(f"MSKSource{end}", {})
    return stream.get("KinesisStreamARN") or topic.get("MSKClusterARN")


async def _explained(
    target: Target,
    chosen: Settings,
    name: str,
    kind: str,
    configuration: dict[str, Any],
    source_arn: str | None,
    tags: dict[str, str],
    samples: list[bytes],
) -> list[Explanation]:
    columns = _columns(target, configuration)
    functions = Functions(chosen.functions, timeout_s=chosen.function_timeout_s)
    queries = FunctionPool(query.function(TIMEOUT_S))
    explainer = Explainer(
        name,
        Scope(region=target.region),
        kind,
        configuration,
        columns,
        SystemClock(),
        source_arn=source_arn,
        compat=chosen.firehose_compat,
        tags=tags,
        invoke=functions.invoke,
        ask=queries.invoke,
    )
    if explainer.query is not None:
        check_query(explainer.query)
    try:
        return await explainer.explain(samples)
    finally:
        await functions.close()
        await queries.close()


def _columns(target: Target, configuration: dict[str, Any]) -> tuple[ColumnSpec, ...]:
    conversion = Conversion.of(configuration)
    if conversion is None:
        return ()
    database, table = conversion.table
    which = {} if conversion.version is None else {"VersionId": conversion.version}
    try:
        found = target.aws("glue").get_table_version(DatabaseName=database, TableName=table, **which)
    except botocore.exceptions.EndpointConnectionError as error:
        raise target.down from error
    except botocore.exceptions.ClientError as error:
        raise Failure(error.response["Error"]["Message"]) from error
    return table_columns(f"{database}.{table}", found["TableVersion"]["Table"])


def _show(target: Target, title: str, one: Explanation) -> None:
    told: dict[str, object] = {"route": one.route}
    if one.key is not None:
        told["key"] = one.key
    if one.keys:
        told["partition keys"] = ", ".join(f"{name}={value}" for name, value in one.keys.items())
    if one.row is not None:
        told["row"] = one.row
    if one.drift is not None:
        told["drift"] = one.drift
    if one.code is not None:
        told |= {"error": one.code, "message": one.message}
    if one.data is not None:
        told["data"] = one.data
    if target.json:
        plain = {name.replace(" ", "_"): value for name, value in told.items()}
        if one.keys:
            plain["partition_keys"] = one.keys
        output.json_line({"record": title, **plain, **_data(one.data)})
        return
    click.echo(f"{title}: {'error output ' if one.code is not None else ''}{one.route}")
    for name, value in list(told.items())[1:]:
        text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        click.echo(f"  {name:<15} {text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + '…'}")


def _data(data: bytes | None) -> dict[str, str]:
    """As text, or base64 where it is none."""
    if data is None:
        return {}
    try:
        return {"data": data.decode()}
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(data).decode()}
