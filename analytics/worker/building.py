"""From what the messages say to what `analytics.Application` is made of."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pyarrow as pa

from analytics.application import Application, Progress
from analytics.errors import SqlError
from analytics.inputs import Input
from analytics.limits import Limits
from analytics.mapping import CsvMapping, JsonMapping, Mapping
from analytics.outputs import Output
from analytics.processing import Invoke, Processor, deliver
from analytics.program import Program, parse
from analytics.references import Reference
from analytics.schemas import column_of, type_of
from analytics.worker.messages import InputSpec, OutputSpec, ReferenceSpec, Run, SchemaSpec
from connectors.delivered.archive import Archive, Deliveries
from connectors.formats.schema import Column
from connectors.kafka_clusters import TopicAt
from streams.core.brokers import brokers_of
from streams.core.clock import Clock
from streams.sdk.client import TRIM_HORIZON, Client, at_timestamp


def columns_of(schema: SchemaSpec, where: str) -> list[Column]:
    """Raises `ValidationError` for types that are none."""
    return [column_of(_record_column(schema, number), where) for number in range(len(schema.columns))]


def mapping_of(schema: SchemaSpec, where: str) -> Mapping:
    """Raises `ValidationError` for types and paths that are none."""
    columns = columns_of(schema, where)
    types = [type_of(_record_column(schema, number), where) for number in range(len(columns))]
    lengths = {number: each.length for number, each in enumerate(types) if each.length is not None}
    if schema.csv:
        return CsvMapping(columns, lengths, schema.row_delimiter, schema.column_delimiter)
    return JsonMapping(columns, lengths, schema.row_path)


def _record_column(schema: SchemaSpec, number: int) -> dict[str, str | None]:
    column = schema.columns[number]
    return {"Name": column.name, "SqlType": column.type, "Mapping": None if schema.csv else column.path}


def build(
    run: Run,
    client: Client,
    deliveries: Deliveries,
    invoke: Invoke,
    clock: Clock,
    progress: Callable[[Progress], None],
    observe: Callable[[str, pa.RecordBatch], None],
    stuck: Callable[[str], None] | None = None,
    keep: Callable[[], Awaitable[None]] | None = None,
) -> Application:
    """Raises `SqlError`, `ValidationError`. `stuck` is told of a function that cannot be interrupted."""
    check_scripts(parse(run.code), run.scripts)
    return Application(
        run.code,
        client=client,
        inputs=[each for spec in run.inputs for each in _inputs(spec, run, deliveries, invoke, clock)],
        references=[_reference(spec) for spec in run.references],
        outputs=[_output(spec, run, invoke, clock) for spec in run.outputs],
        path=run.path,
        clock=clock,
        progress=progress,
        observe=observe,
        generation=run.generation,
        memory_max=run.memory_max // 2,
        limits=Limits(stuck),
        keep=keep,
    )


def check_scripts(program: Program, allowed: bool) -> None:
    """Raises `SqlError` for functions in Python where nobody may bring code."""
    if program.scripts and not allowed:
        script = program.scripts[0]
        raise SqlError(f"function {script.name} is in Python, and the setting function_api is off", script.place)


def _inputs(spec: InputSpec, run: Run, deliveries: Deliveries, invoke: Invoke, clock: Clock) -> list[Input]:
    columns = columns_of(spec.schema, spec.names[0])
    mapping = mapping_of(spec.schema, spec.names[0])
    processor = None
    if spec.function is not None:
        processor = Processor(
            invoke, spec.function, application=run.arn, stream=spec.arn, direct=spec.direct, clock=clock
        )
    start = TRIM_HORIZON if spec.start_ms is None else at_timestamp(spec.start_ms)
    return [
        Input(
            spec.stream,
            name=name,
            columns=columns,
            start=start,
            mapping=mapping,
            processor=processor,
            share=(number, len(spec.names)),
            history=None if spec.history is None else _history(spec.history, number, run, deliveries),
            topic=_topic(spec.brokers, spec.stream),
        )
        for number, name in enumerate(spec.names)
    ]


def _history(delivery_stream: str, number: int, run: Run, deliveries: Deliveries) -> Archive:
    """Its objects are unpacked beside the state."""
    return Archive(deliveries, delivery_stream, folder=Path(run.path).parent / "history" / str(number))


def _output(spec: OutputSpec, run: Run, invoke: Invoke, clock: Clock) -> Output:
    topic = _topic(spec.brokers, spec.stream or "")
    if topic is not None:
        return Output(spec.source, topic=topic, csv=spec.csv, number=spec.number)
    if spec.function is None:
        return Output(spec.source, stream=spec.stream, csv=spec.csv, number=spec.number)

    async def give(function: str, identity: str, rows: Sequence[bytes]) -> None:
        await deliver(invoke, function, run.arn, f"{spec.number}-{identity}", rows, clock)

    return Output(spec.source, function=functools.partial(give, spec.function), csv=spec.csv, number=spec.number)


def _topic(brokers: str | None, name: str) -> TopicAt | None:
    return None if brokers is None else TopicAt(brokers_of(brokers), name)


def _reference(spec: ReferenceSpec) -> Reference:
    columns = columns_of(spec.schema, spec.name)
    return Reference(spec.name, spec.url, columns=columns, mapping=mapping_of(spec.schema, spec.name))
