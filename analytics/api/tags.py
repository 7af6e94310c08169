"""TagResource, UntagResource, ListTagsForResource: the same in both APIs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from analytics.api.catalog import Application, Catalog
from analytics.api.context import Context, tags_of
from analytics.api.errors import TooManyTags
from analytics.api.events import Event, Tagged
from streams.core.errors import InvalidArgument, ResourceNotFound
from streams.core.scope import Scope

TAGS_MAX = 50
"""Tags of one application: AWS's."""


async def tag_resource(context: Context, request: Any, scope: Scope) -> Any:
    given = given_tags({"Key": tag.key, "Value": tag.value or ""} for tag in request.tags)
    await _change(context, _application(context, request.resource_arn, scope), given)
    return {}


async def untag_resource(context: Context, request: Any, scope: Scope) -> Any:
    await _change(context, _application(context, request.resource_arn, scope), {}, request.tag_keys)
    return {}


async def list_tags_for_resource(context: Context, request: Any, scope: Scope) -> Any:
    return {"Tags": tags_of(_application(context, request.resource_arn, scope).tags)}


def given_tags(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Of a request. Raises `InvalidArgument` for a key that stands there twice, `TooManyTags`."""
    given = list(tags)
    twice = [key for key, count in Counter(tag["Key"] for tag in given).items() if count > 1]
    if twice:
        raise InvalidArgument(f"Duplicate tag keys found: {', '.join(sorted(twice))}. Give each tag key once.")
    _check_count(len(given))
    return {tag["Key"]: tag.get("Value", "") for tag in given}


def _check_count(count: int) -> None:
    if count > TAGS_MAX:
        raise TooManyTags(f"An application has at most {TAGS_MAX} tags; it would have {count}.")


def _application(context: Context, arn: str, scope: Scope) -> Application:
    name = arn.rpartition(":application/")[2]
    if arn != scope.application_arn(name):
        raise ResourceNotFound(f"Application {arn} not found in account {scope.account} in {scope.region}.")
    return context.application(scope, name)


async def _change(
    context: Context, application: Application, added: Mapping[str, str], removed: Collection[str] = ()
) -> None:
    def decide(_catalog: Catalog, now_ms: int) -> tuple[None, list[Event]]:
        tags = {key: value for key, value in {**application.tags, **added}.items() if key not in removed}
        _check_count(len(tags))
        return None, [] if tags == application.tags else [Tagged(application.number, now_ms, tags)]

    await context.book.execute(decide)
