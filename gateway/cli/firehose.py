"""``headrace firehose``: delivery streams, through the Firehose protocol as any AWS tool speaks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.cli import firehose_members, output
from gateway.cli.connection import Target, connected
from gateway.cli.failure import Failure
from gateway.cli.firehose_call import call, names
from gateway.cli.firehose_explain import explain
from gateway.cli.firehose_replay import replay
from gateway.cli.firehose_verify import verify
from streams.core.scope import Scope


@click.group()
def firehose() -> None:
    """Make, list, describe and delete delivery streams; verify what they delivered, replay what failed, explain what would."""


firehose.add_command(verify)
firehose.add_command(replay)
firehose.add_command(explain)


@firehose.command()
@click.argument("name")
@click.option("--bucket", help="Bucket to deliver to: a name of the settings, or the folder buckets/NAME of the data.")
@click.option("--source", metavar="STREAM", help="Stream to deliver from; without it, records are put directly.")
@click.option("--topic", help="Kafka topic to deliver from, of the --cluster.")
@click.option("--cluster", metavar="ARN", help="Kafka cluster of the --topic: a name of the setting kafka_clusters.")
@click.option("--prefix", help="Prefix of the objects' names, with !{timestamp:…} and the like.")
@click.option("--error-prefix", help="Prefix of the objects that hold what failed.")
@click.option("--gzip", is_flag=True, help="Compress the objects.")
@click.option(
    "--parquet",
    metavar="COLUMNS",
    help="Deliver Parquet with these columns and Hive types, 'city string, km double' for instance.",
)
@click.option("--size-mb", type=click.IntRange(1, 128), help="Deliver when this much is buffered.")
@click.option("--interval-s", type=click.IntRange(0, 900), help="Deliver when the oldest record is this old.")
@click.option("--function", help="Function that transforms the records, by its name.")
@click.option(
    "--request",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file with the members of CreateDeliveryStream, for all that has no option here.",
)
@connected
def create(target: Target, name: str, request: Path | None, **options: Any) -> None:
    """Make the delivery stream NAME."""
    if (request is None) == (options["bucket"] is None):
        raise click.UsageError("give either --bucket or --request")
    if (options["topic"] is None) != (options["cluster"] is None) or None not in (options["topic"], options["source"]):
        raise click.UsageError("--topic and --cluster go together, and not with --source")
    if request is not None:
        members = _read(request)
    else:
        members = firehose_members.members(Scope(region=target.region), name, **options)
        if options["parquet"] is not None:
            firehose_members.register(target, name, firehose_members.columns(options["parquet"]))
    reply = call(target, "create_delivery_stream", DeliveryStreamName=name, **members)
    if target.json:
        output.json_line({"arn": reply["DeliveryStreamARN"]})
    else:
        output.talk(f"delivery stream {name} delivers")


@firehose.command("list")
@connected
def list_(target: Target) -> None:
    """List the delivery streams."""
    found = names(target)
    if target.json:
        output.json_line(found)
    elif found:
        output.table(["delivery stream"], [(name,) for name in found])
    else:
        output.talk("no delivery streams yet; headrace firehose create NAME --bucket BUCKET makes one")


@firehose.command()
@click.argument("name")
@connected
def describe(target: Target, name: str) -> None:
    """Show the delivery stream NAME."""
    found = call(target, "describe_delivery_stream", DeliveryStreamName=name)["DeliveryStreamDescription"]
    if target.json:
        output.json_line(found)
        return
    output.table(["", ""], sorted(_flat(found)))


@firehose.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@connected
def delete(target: Target, name: str, yes: bool) -> None:
    """Delete the delivery stream NAME; what it has not delivered yet is not delivered any more."""
    call(target, "describe_delivery_stream", DeliveryStreamName=name)
    if not yes:
        click.confirm(f"Delete the delivery stream {name}?", abort=True, err=True)
    call(target, "delete_delivery_stream", DeliveryStreamName=name)
    output.talk(f"delivery stream {name} is gone")


def _read(request: Path) -> dict[str, Any]:
    try:
        members = msgspec.json.decode(request.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Failure(f"{request} is not a JSON object: {error}") from error
    members.pop("DeliveryStreamName", None)
    return members


def _flat(value: Any, name: str = "") -> list[tuple[str, object]]:
    """Nested members as (path, value) rows, the response's own metadata left out."""
    if isinstance(value, dict):
        return [row for key, inner in value.items() for row in _flat(inner, f"{name}.{key}" if name else key)]
    if isinstance(value, list):
        return [row for number, inner in enumerate(value) for row in _flat(inner, f"{name}[{number}]")]
    return [(name, value)]
