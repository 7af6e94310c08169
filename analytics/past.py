"""An input that begins with delivered objects: how it reads through them, and what it looks for in their rows."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from analytics.inputs import Decoder, discover_columns
from analytics.mapping import CsvMapping
from connectors.delivered.archive import Archive
from connectors.delivered.reader import Reaching
from connectors.formats.schema import Column
from streams.core.errors import ValidationError
from streams.sdk.client import Readable

_KEY = re.compile(r"""\$\.(?:"(?P<quoted>[^"]+)"|(?P<plain>[^.\[\]"']+))""")


def reaching(client: Readable, history: Archive | None, known: Collection[str] = ()) -> Readable:
    """The client as an input with this history reads through it; `known` are the shards that it has read before."""
    return client if history is None else Reaching(client, history, known)


async def discover(client: Readable, stream: str, history: Archive | None) -> Sequence[Column]:
    """The columns of the first records in the log, which spells their keys as its producers do; where it holds none, in
    objects."""
    return await discover_columns(client, stream) or await discover_columns(reaching(client, history), stream)


def look_for(decoder: Decoder) -> None:
    """Tells the input's objects which keys it reads. Raises `ValidationError` where their rows cannot be read."""
    given, history = decoder.input, decoder.input.history
    if history is None:
        return
    if isinstance(given.mapping, CsvMapping) and history.tables:
        raise ValidationError(
            f"input {given.name} reads CSV, and the objects of delivery stream {history.name} are tables, which come back"
            " as JSON"
        )
    if given.processor is None:
        history.look_for({key_of(column) for column in decoder.wanted})


def key_of(column: Column) -> str:
    """The key of a record that a column begins at."""
    found = None if column.path is None else _KEY.match(column.path)
    return column.name if found is None else found["quoted"] or found["plain"]
