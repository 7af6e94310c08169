"""A SELECT STREAM that stands alone: an application of one query over Kinesis streams, named where it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pyarrow as pa
from sqlglot import exp

from analytics.application import Application, Progress
from analytics.errors import SqlError, closest
from analytics.inputs import Input
from analytics.outputs import Output
from analytics.places import place_of
from analytics.program import folded, parse
from analytics.references import Reference
from analytics.statements import streaming
from streams.core.clock import Clock
from streams.sdk.client import Client


def is_continuous(sql: str) -> bool:
    """Whether the text is for `continuous` (a query that says SELECT STREAM). Raises `SqlError` if it does not parse in
    the streaming language, which a batch query need not."""
    query = parse(sql).query
    return query is not None and any(streaming(select) for select in query.find_all(exp.Select))


async def continuous(
    sql: str,
    client: Client,
    callback: Callable[[str, pa.RecordBatch], None],
    *,
    inputs: Sequence[Input] = (),
    references: Sequence[Reference] = (),
    clock: Clock | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Application:
    """The application of the query: run it, and its rows go to ``callback("RESULT", rows)``, its faults to
    ``callback("error_stream", rows)``.

    FROM names Kinesis streams, unquoted in any case. `inputs` say more about some of them (start, rowtime, columns);
    their `name` is set here. Raises `SqlError`.
    """
    program = parse(sql)
    if program.query is None:
        raise SqlError("this is a program, not a query", expected="SELECT STREAM")
    names = await client.list_streams()
    given = {each.stream: each for each in inputs}
    tables = {each.name for each in references}
    found: dict[str, Input] = {}
    for identifier in program.sources():
        if folded(identifier) in tables or identifier.name in tables:
            continue
        stream = _stream(identifier, names)
        found[stream] = replace(given.get(stream) or Input(stream), name=stream)
    output = Output(None, callback=callback)
    return Application(
        sql,
        client=client,
        inputs=list(found.values()),
        references=references,
        outputs=[output],
        clock=clock,
        progress=progress,
    )


def _stream(identifier: exp.Identifier, names: Sequence[str]) -> str:
    name = str(identifier.name)
    if name in names:
        return name
    same = [each for each in names if each.lower() == name.lower()]
    if len(same) == 1 and not identifier.quoted:
        return same[0]
    raise SqlError(f"there is no stream {name}", place_of(identifier), suggestion=closest(name, names))
