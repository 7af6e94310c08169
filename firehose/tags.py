"""TagDeliveryStream, UntagDeliveryStream, ListTagsForDeliveryStream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from firehose.catalog import Catalog
from firehose.context import Context
from firehose.conversion import Conversion
from firehose.drift import DriftPolicy
from firehose.events import EXTENDED_S3, Event, Tagged
from firehose.resources import check_drift
from firehose.stream import DeliveryStream
from streams.core.errors import InvalidArgument, LimitExceeded
from streams.core.scope import Scope

TAGS_MAX = 50
"""Tags of one delivery stream: AWS's. What a key and a value may look like is in the service's model."""


async def tag_delivery_stream(context: Context, request: Any, scope: Scope) -> Any:
    await _change(context, scope, request.delivery_stream_name, given_tags(request.tags))
    return {}


async def untag_delivery_stream(context: Context, request: Any, scope: Scope) -> Any:
    await _change(context, scope, request.delivery_stream_name, {}, request.tag_keys)
    return {}


async def list_tags_for_delivery_stream(context: Context, request: Any, scope: Scope) -> Any:
    tags = context.stream(scope, request.delivery_stream_name).created.tags
    keys = sorted(key for key in tags if key > (request.exclusive_start_tag_key or ""))
    page = keys[: request.limit or TAGS_MAX]
    return {"Tags": [{"Key": key, "Value": tags[key]} for key in page], "HasMoreTags": len(page) < len(keys)}


def given_tags(tags: Iterable[Any]) -> dict[str, str]:
    """Of a request. Raises `InvalidArgument` for a key that stands there twice."""
    given = list(tags)
    twice = [key for key, count in Counter(tag.key for tag in given).items() if count > 1]
    if twice:
        raise InvalidArgument(f"Duplicate tag keys found: {', '.join(sorted(twice))}. Give each tag key once.")
    return {tag.key: tag.value or "" for tag in given}


async def _change(
    context: Context, scope: Scope, name: str, added: Mapping[str, str], removed: Collection[str] = ()
) -> None:
    """A policy of schema drift is a tag too: another one holds from what is not delivered yet."""

    def changed() -> tuple[DeliveryStream, dict[str, str]]:
        stream = context.stream(scope, name)
        before = stream.created.tags
        tags = {key: value for key, value in {**before, **added}.items() if key not in removed}
        if len(tags) > TAGS_MAX:
            raise LimitExceeded(f"Firehose {name} cannot have more than {TAGS_MAX} tags; it would have {len(tags)}.")
        conversion = Conversion.of(stream.created.destination) if stream.created.kind == EXTENDED_S3 else None
        if conversion is not None and DriftPolicy.of(before) != DriftPolicy.of(tags):
            check_drift(tags, conversion, stream.created.columns)
        return stream, tags

    def decide(_catalog: Catalog, _now_ms: int) -> tuple[None, list[Event]]:
        stream, tags = changed()
        return None, [] if tags == stream.created.tags else [Tagged(stream.number, tags)]

    stream, tags = changed()
    DriftPolicy.of(tags)
    if DriftPolicy.of(stream.created.tags) == DriftPolicy.of(tags):
        await context.book.execute(decide)
    else:
        await context.restarted(stream, lambda: context.book.execute(decide))
