"""From the text of a program and the options to what `analytics` asks for: inputs, reference tables, outputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import click
import msgspec
from sqlglot import exp

from analytics import Input, Output, Program, Reference, SqlError, parse
from analytics.errors import closest
from analytics.inputs import ARRIVAL
from analytics.nodes import CreateStream
from analytics.places import place_of
from analytics.program import folded
from analytics.statements import parse_statements, streaming
from analytics.types import declared
from connectors.delivered.archive import Archive
from connectors.formats.schema import Column
from connectors.kafka_clusters import topic_at
from streams.sdk.client import Start

_STREAMING = re.compile(
    r"\A\s*CREATE\b(?!\s+(?:OR\s+REPLACE\s+)?FUNCTION)|\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:STREAM|PUMP)\b|\bSELECT\s+STREAM\s+(?!FROM\b|AS\b|,)",
    re.IGNORECASE,
)
"""What only the streaming language says: a text with it that does not parse is meant for nobody else."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of ``headrace sql`` that say what a program is connected with."""

    inputs: Mapping[str, str]
    columns: Mapping[str, Sequence[Column]]
    references: Mapping[str, str]
    outputs: Mapping[str, str]
    rowtime: str | None
    lateness_s: float
    start: Start
    history: Sequence[str] = ()


def continuous(text: str) -> Program | None:
    """The program, if the text is one that runs on: it has pumps, or its query says SELECT STREAM. None for a batch
    query. Raises `SqlError`."""
    try:
        program = parse(text)
    except SqlError:
        if _STREAMING.search(text):
            raise
        return None
    if program.query is not None and not any(map(streaming, program.query.find_all(exp.Select))):
        return None
    return program


def inputs(
    program: Program, options: Options, known: Sequence[str], history: Mapping[str, Archive] | None = None
) -> list[Input]:
    """An input for each name in a FROM that the program does not declare itself: the stream that --input names, else
    the one of that name, whose case does not matter unless the name is quoted. `history` is by stream. Raises `SqlError`."""
    found: dict[str, Input] = {}
    references = {name.upper() for name in options.references}
    for identifier in program.sources():
        name = folded(identifier)
        if name in found or name.upper() in references:
            continue
        stream = options.inputs.get(name) or _stream(identifier, known)
        topic = topic_at(stream) if stream.startswith("kafka://") else None
        found[name] = Input(
            stream if topic is None else topic.topic,
            name=name,
            columns=options.columns.get(stream),
            start=options.start,
            rowtime=options.rowtime or ARRIVAL,
            lateness_ms=round(options.lateness_s * 1000),
            history=(history or {}).get(stream),
            topic=topic,
        )
    return list(found.values())


def references(program: Program, options: Options) -> list[Reference]:
    """Reference tables under the names that the program's FROM gives them, whose case does not matter."""
    names = {folded(identifier).upper(): folded(identifier) for identifier in program.sources()}
    return [Reference(names.get(name.upper(), name), url) for name, url in options.references.items()]


def outputs(options: Options) -> list[Output]:
    """``stream:NAME``, ``firehose:NAME``, ``kafka://…/TOPIC``, or a file. Raises `SettingsError`."""
    made = []
    for source, text in options.outputs.items():
        kind, _, name = text.partition(":")
        if kind == "stream":
            made.append(Output(source=source, stream=name))
        elif kind == "firehose":
            made.append(Output(source=source, delivery_stream=name))
        elif kind == "kafka":
            made.append(Output(source=source, topic=topic_at(text)))
        else:
            made.append(Output(source=source, file=text))
    return made


def shown(program: Program, chosen: Sequence[str]) -> list[str]:
    """The in-application streams whose rows are printed: the chosen ones, else those that no pump reads."""
    if chosen:
        return list(chosen)
    if program.query is not None:
        return ["RESULT"]
    read = program.read_streams()
    return [name for name in dict.fromkeys(pump.target for pump in program.pumps.values()) if name not in read]


_EXAMPLES = {"NAME=STREAM": ": which name in FROM it is for, as in SOURCE_SQL_STREAM_001=clicks"}


def pairs(what: str) -> Callable[[click.Context, click.Parameter, Sequence[str]], dict[str, str]]:
    """A click callback for a repeatable option of NAME=VALUE, as `what` says it."""

    def parsed(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, str]:
        found = {}
        for text in values:
            name, _, value = text.partition("=")
            if not name or not value:
                raise click.BadParameter(f"{text!r} is not {what}{_EXAMPLES.get(what, '')}")
            found[name] = value
        return found

    return parsed


def parameters(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, object]:
    """A click callback for ``NAME=VALUE``."""
    given = pairs("NAME=VALUE")(ctx, param, values)
    return {name: parameter(text) for name, text in given.items()}


def parameter(text: str) -> object:
    """A number, true, false or null as JSON writes them; else the text itself."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return value if value is None or isinstance(value, bool | int | float | str) else text


def columns(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, list[Column]]:
    """A click callback for ``STREAM=column TYPE, …``; names of columns are taken as they are written."""
    given = pairs("STREAM='COLUMN TYPE, …'")(ctx, param, values)
    found = {}
    for name, text in given.items():
        try:
            created = parse_statements(f"CREATE STREAM X ({text})")[0]
            assert isinstance(created, CreateStream)
            found[name] = [Column(each.this.name, declared(each.args["kind"]).arrow) for each in created.expressions]
        except SqlError as error:
            raise click.BadParameter(f"columns of {name}: {error.what}") from error
    return found


def _stream(identifier: exp.Identifier, known: Sequence[str]) -> str:
    if identifier.name in known:
        return str(identifier.name)
    alike = [name for name in known if name.lower() == identifier.name.lower()]
    if len(alike) == 1 and not identifier.quoted:
        return alike[0]
    raise SqlError(
        f"there is no stream {identifier.name}", place_of(identifier), suggestion=closest(identifier.name, known)
    )
