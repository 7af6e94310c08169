"""Tags: AddTagsToStream and its kin, which address streams only, and TagResource and its kin, which take any ARN."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from streams.control import tags
from streams.control.resources import find_resource
from streams.core.scope import Scope
from streams.operations.addressing import addressed
from streams.operations.context import Context

PAGE_MAX = 50
"""Tags on one page of ListTagsForStream: AWS's."""


async def add_tags_to_stream(context: Context, request: Any, scope: Scope) -> None:
    await _tag(context, addressed(context, request, scope).arn, request.tags)


async def remove_tags_from_stream(context: Context, request: Any, scope: Scope) -> None:
    await _tag(context, addressed(context, request, scope).arn, {}, request.tag_keys)


async def list_tags_for_stream(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    found = addressed(context, request, scope).tags
    after = request.exclusive_start_tag_key
    keys = sorted(key for key in found if after is None or key > after)
    page = keys[: request.limit or PAGE_MAX]
    return {"Tags": [{"Key": key, "Value": found[key]} for key in page], "HasMoreTags": len(page) < len(keys)}


async def tag_resource(context: Context, request: Any, scope: Scope) -> None:
    await _tag(context, request.resource_arn, request.tags)


async def untag_resource(context: Context, request: Any, scope: Scope) -> None:
    await _tag(context, request.resource_arn, {}, request.tag_keys)


async def list_tags_for_resource(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    found = find_resource(context.catalog, request.resource_arn, context.now_ms()).tags
    return {"Tags": [{"Key": key, "Value": found[key]} for key in sorted(found)]}


async def _tag(context: Context, arn: str, added: Mapping[str, str], removed: Collection[str] = ()) -> None:
    await context.controller.execute(lambda catalog, now_ms: tags.tag(catalog, now_ms, arn, added, removed))
