"""DiscoverInputSchema: the newest records of a stream, or a file, and the schema that they seem to have."""

from __future__ import annotations

from typing import Any

import msgspec

from analytics.api.configuration import name_of
from analytics.api.context import Context
from analytics.api.errors import UnableToDetectSchema
from analytics.api.objects import head
from analytics.api.specification import described, source_of, topic_in
from analytics.processing import Processor
from connectors.functions.errors import FunctionError
from streams.core.errors import InvalidArgument, LogUnreachable, ResourceNotFound, SettingsError
from streams.core.records import Batch
from streams.core.scope import Scope
from streams.sdk.client import TRIM_HORIZON, Readable, Start, at_timestamp

SAMPLE_RECORDS_MAX = 1_000
SAMPLE_SIZE_MAX = 1 << 20
"""Records that a schema is found in, and their bytes: more only confirm what these say."""
SHOWN_MAX = 100
"""Records that the answer repeats."""
WAIT_MS = 10_000
"""How long records are waited for where there are none: AWS waits some ten seconds too."""


async def discover(context: Context, given: dict[str, Any], scope: Scope) -> Any:
    """`given` is the request of either API."""
    file, arn = given.get("S3Configuration"), given.get("ResourceARN")
    if (file is None) == (arn is None):
        raise InvalidArgument("Exactly one of ResourceARN and S3Configuration is needed.")
    processing = given.get("InputProcessingConfiguration")
    if file is not None and processing is not None:
        raise InvalidArgument(
            "InputProcessingConfiguration is for the records of ResourceARN, not for S3Configuration."
        )
    raw = await _file(context, file) if file is not None else []
    processed = raw
    if arn is not None:
        batches, stream, direct = await _sample(context, given, arn, scope)
        raw = [record for batch in batches for record in batch.records.data.to_pylist()]
        processed = raw
        if processing is not None and raw:
            function = processing["InputLambdaProcessor"]["ResourceARN"]
            processed = await _processed(context, function, arn, stream, direct, batches, scope)
    shown = [record.decode(errors="replace") for record in raw[:SHOWN_MAX]]
    shown_after = [record.decode(errors="replace") for record in processed[:SHOWN_MAX]]
    if not processed:
        where = str(arn if file is None else file["FileKey"])
        raise UnableToDetectSchema(_nothing(given, where, len(raw)), shown)
    found = await context.discover(processed)
    if found.schema is None:
        raise UnableToDetectSchema("The records are neither JSON objects nor rows of CSV.", shown, shown_after)
    return {
        "InputSchema": described(found.schema),
        "ParsedInputRecords": found.rows,
        "ProcessedInputRecords": shown_after,
        "RawInputRecords": shown,
    }


def _nothing(given: dict[str, Any], where: str, raw: int) -> str:
    """Why there is nothing to find a schema in. `raw` counts the records that a function was given."""
    if raw:
        function = given["InputProcessingConfiguration"]["InputLambdaProcessor"]["ResourceARN"]
        return f"Function {function} kept none of the {raw:,} records at {where}: it dropped or failed them all."
    if "ResourceARN" in given and _position(given) == "NOW":
        return f"No record came to {where} within {WAIT_MS // 1000} seconds of the request. TRIM_HORIZON looks at older ones."
    return f"There are no records at {where} to find a schema in."


def _position(given: dict[str, Any]) -> str:
    return str(given.get("InputStartingPositionConfiguration", {}).get("InputStartingPosition", "NOW"))


async def _file(context: Context, given: dict[str, Any]) -> list[bytes]:
    data = await head(given, SAMPLE_SIZE_MAX, context.settings)
    whole = len(data) < SAMPLE_SIZE_MAX
    if whole and _is_document(data):
        return [data]
    # The sample may end amid a line.
    return data.splitlines()[: SAMPLE_RECORDS_MAX if whole else -1]


def _is_document(data: bytes) -> bool:
    """Whether it is one document of JSON over several lines, and not one a line."""
    try:
        return isinstance(msgspec.json.decode(data), dict | list)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


async def _sample(context: Context, given: dict[str, Any], arn: str, scope: Scope) -> tuple[list[Batch], str, bool]:
    kind = "KinesisFirehoseInput" if ":deliverystream/" in arn else "KinesisStreamsInput"
    source = {kind: {"ResourceARN": arn}}
    _, stream, direct = source_of(source, scope, context.delivery_source)
    start: Start = at_timestamp(context.clock.now_ms()) if _position(given) == "NOW" else TRIM_HORIZON
    topic = topic_in(source, context.settings)
    client: Readable = context.client_for(scope) if topic is None else topic.client(context.clock)
    try:
        positions = await client.find(stream, start)
        fetch = await client.fetch(stream, positions, size_max=SAMPLE_SIZE_MAX, wait_ms=WAIT_MS)
    except ResourceNotFound as error:
        raise InvalidArgument(f"Stream {name_of(arn)} was not found.") from error
    except (LogUnreachable, SettingsError) as error:
        raise InvalidArgument(f"Topic {arn} cannot be read: {error.message}") from error
    finally:
        if topic is not None:
            await client.close()
    return [batch for batch in fetch.batches if len(batch)], stream, direct


async def _processed(
    context: Context, name: str, arn: str, stream: str, direct: bool, batches: list[Batch], scope: Scope
) -> list[bytes]:
    shards = {shard.id: shard for shard in (await context.client_for(scope).describe_stream(stream)).shards}
    processor = Processor(
        context.functions.invoke, name, application="", stream=arn, direct=direct, clock=context.clock, retries=0
    )
    try:
        made = [await processor.run(batch, shards[batch.shard]) for batch in batches]
    except FunctionError as error:
        raise InvalidArgument(error.message) from error
    return [record for each in made for record in each.data.to_pylist()]
