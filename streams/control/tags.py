"""Decisions about tags, as pure functions."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from streams.control.catalog import Catalog
from streams.control.decisions import Decision
from streams.control.events import AnyEvent, ConsumerTagged, QueueChanged, StreamChanged
from streams.control.queue import Queue
from streams.control.resources import Resource, find_resource
from streams.control.stream import Stream
from streams.core.errors import InvalidArgument

TAGS_MAX = 50
"""Tags of one resource: AWS's, though its model lets 200 through."""

_TEXT = re.compile(r"[\w\s./=+\-%@:]*")


def tag(
    catalog: Catalog, now_ms: int, arn: str, added: Mapping[str, str], removed: Collection[str] = ()
) -> Decision[None]:
    """`added` replace tags of the same keys. Raises `InvalidArgument`, `ResourceNotFound`."""
    resource = find_resource(catalog, arn, now_ms)
    check_tags(_named(resource), {*added, *resource.tags}, added)
    tags = {key: value for key, value in {**resource.tags, **added}.items() if key not in removed}
    return Decision(None, () if tags == resource.tags else (_tagged(catalog, now_ms, resource, tags),))


def check_tags(name: str, keys: Collection[str], added: Mapping[str, str]) -> None:
    """`keys` are all that the resource, which the message calls `name`, would have. Raises `InvalidArgument`."""
    if any(_TEXT.fullmatch(text) is None for text in (*added, *added.values())):
        raise InvalidArgument(
            "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - % @."
        )
    if any(key.lower().startswith("aws:") for key in added):
        raise InvalidArgument("Tag keys that begin with aws: are reserved.")
    if len(keys) > TAGS_MAX:
        raise InvalidArgument(
            f"Failed to add tags to {name} because a given {name.partition(' ')[0]} cannot have more than {TAGS_MAX} tags"
            " associated with it."
        )


def stream_text(name: str, account: str) -> str:
    """How messages name a stream."""
    return f"stream {name} under account {account}"


def _named(resource: Resource) -> str:
    if isinstance(resource, Stream):
        return stream_text(resource.name, resource.account)
    return f"{'queue' if isinstance(resource, Queue) else 'consumer'} {resource.name}"


def _tagged(catalog: Catalog, now_ms: int, resource: Resource, tags: dict[str, str]) -> AnyEvent:
    if isinstance(resource, Stream):
        return StreamChanged(at_ms=now_ms, id=resource.id, tags=tags)
    if isinstance(resource, Queue):
        return QueueChanged(at_ms=now_ms, id=resource.id, tags=tags)
    stream = next(one for one in catalog.streams.values() if resource in one.consumers)
    return ConsumerTagged(at_ms=now_ms, id=stream.id, name=resource.name, tags=tags)
