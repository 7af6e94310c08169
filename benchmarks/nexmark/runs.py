"""Headrace runs the queries: from typed Arrow batches, and from JSON in the log. What a run costs, and which rows it gives."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

import analytics
from analytics import Application, Input, Output, Progress, Reference, parse
from analytics.application import BATCH_ROWS_MAX
from analytics.compiler import compile_program
from analytics.engine import Engine
from analytics.frontier import InputTime, TimeRule
from analytics.inputs import ARRIVAL, MS, SOURCE
from analytics.operators.work import END
from analytics.state import State
from benchmarks.load import own_cpu_s
from benchmarks.nexmark import events
from benchmarks.nexmark.query import SIDE_KEYS, Query
from connectors.formats.schema import Column
from streams.core.records import Records
from streams.sdk.client import Client

STREAM, RESULT, SIDE = "nexmark", "RESULT", "SIDE"
COLUMNS = [Column(field.name, field.type) for field in events.SCHEMA]
SHARDS = 1
SIDE_COLUMNS = [Column("key", pa.int64()), Column("value", pa.string())]
_SHARD = "shardId-000000000000"
_KEYS = 1_000
_EVENT_TIME = "dateTime"


@dataclass(slots=True)
class Run:
    """What a run took: seconds, and CPU seconds of all threads. `rows` are those of RESULT, where they were kept."""

    events: int
    seconds: float
    cpu_s: float
    rows: list[pa.Table] = field(default_factory=list)


def write_side(folder: Path) -> Path:
    """The reference table of query 13 as a file."""
    path = folder / "side.csv"
    pyarrow.csv.write_csv(_side(), path)
    return path


def _side() -> pa.Table:
    keys = pa.array(range(SIDE_KEYS), pa.int64())
    return pa.table({"key": keys, "value": keys.cast(pa.string())})


def from_arrow(query: Query, batches: Iterable[pa.Table], *, keep: bool = False) -> Run:
    """The tables together are micro-batches of the size that an application takes. Arrival is event time here: there is no
    log that would know better."""
    plan = compile_program(parse(query.program), {SOURCE: COLUMNS}, {SIDE: SIDE_COLUMNS})
    state = State(None, query.program)
    Engine.create(plan, state.connection)
    for relation in plan.references.values():
        state.connection.register("loaded", _side().rename_columns([each.physical for each in relation.fields]))
        state.connection.execute(f"CREATE TEMP TABLE {relation.physical} AS SELECT * FROM loaded")
    engine = Engine(plan, state.connection)
    relation, target = plan.inputs[SOURCE], plan.streams[RESULT].physical
    used = [(f"c{number}", column.name) for number, column in enumerate(COLUMNS) if f"c{number}" in relation.used]
    clock = InputTime(TimeRule(_EVENT_TIME, events.LATENESS_MS))
    run, position = Run(0, 0.0, 0.0), 0

    def step(inputs: dict[str, pa.Table], at: int | None) -> None:
        made = engine.step(inputs, {} if at is None else {relation.physical: at}, _now_ms())
        assert not made.faulty
        state.commit(made.changes, {SOURCE: ({_SHARD: position}, clock)}, (), ())
        engine.applied(made.changes)
        if keep and target in made.rows:
            run.rows.append(made.rows[target])

    given = _together(batches)
    cpu, began = own_cpu_s(), time.perf_counter()
    for batch in given:
        times, late, _ = clock.admit(_SHARD, batch.column(_EVENT_TIME).cast(pa.int64()).to_numpy(), _now_ms())
        assert not late.any()
        rows = batch.select([name for _, name in used]).rename_columns([physical for physical, _ in used])
        position += len(batch)
        step(
            {relation.physical: rows.append_column("rt", pa.array(times).cast(MS))},
            clock.advance(_now_ms(), set(), {_SHARD}),
        )
    step({}, END)
    run.events, run.seconds, run.cpu_s = position, time.perf_counter() - began, own_cpu_s() - cpu
    result = plan.streams[RESULT]
    if keep and result.retain is not None:
        names = ", ".join(f"c{number}" for number in range(len(result.columns)))
        run.rows.append(state.connection.sql(f"SELECT rt, {names} FROM {result.kept}").to_arrow_table())
    state.close()
    return run


def _together(batches: Iterable[pa.Table]) -> list[pa.Table]:
    """Tables in a row, of at most `BATCH_ROWS_MAX` rows where none alone is longer; nothing is copied."""
    groups: list[list[pa.Table]] = []
    rows = BATCH_ROWS_MAX
    for batch in batches:
        if rows + len(batch) > BATCH_ROWS_MAX:
            groups.append([])
            rows = 0
        groups[-1].append(batch)
        rows += len(batch)
    return [pa.concat_tables(group) for group in groups]


async def put(client: Client, batches: Iterable[pa.Table]) -> int:
    """Creates the stream and puts the events into it as JSON; the bytes."""
    await client.create_stream(STREAM, SHARDS)
    size = 0
    for batch in batches:
        data = events.encode(batch)
        keys = pa.array(np.arange(len(data)) % _KEYS).cast(pa.string())
        await client.put(STREAM, Records(data, keys))
        size += pc.sum(pc.binary_length(data)).as_py()
    return size


async def from_log(query: Query, client: Client, side: Path, *, keep: bool = False) -> Run:
    """Everything that the stream holds."""
    run = Run(0, 0.0, 0.0)
    table = parse(query.program).streams[RESULT].retain is not None
    outputs = []
    if keep and not table:
        outputs = [Output(RESULT, callback=lambda _, rows: run.rows.append(pa.Table.from_batches([rows])))]
    source = Input(STREAM, columns=COLUMNS, rowtime=_EVENT_TIME, lateness_ms=events.LATENESS_MS)
    if query.arrival:
        source = replace(source, rowtime=ARRIVAL)
    faulty = 0

    def progress(made: Progress) -> None:
        nonlocal faulty
        run.events += made.records
        faulty += made.faulty

    application = Application(
        query.program,
        client=client,
        inputs=[source],
        references=[Reference(SIDE, str(side), columns=SIDE_COLUMNS)],
        outputs=outputs,
        progress=progress,
    )
    async with application:
        cpu, began = own_cpu_s(), time.perf_counter()
        await application.run(until_end=True)
        run.seconds, run.cpu_s = time.perf_counter() - began, own_cpu_s() - cpu
        if keep and table:
            run.rows.append((await application.read({RESULT: None}))[RESULT])
    assert not faulty, f"{faulty} rows failed in {query.name}"
    return run


def differences(run: Run, wanted: pa.Table) -> int:
    """How many rows of a run that was kept are not in `wanted`, or the other way round."""
    found = pa.concat_tables([rows.select(range(1, rows.num_columns)) for rows in run.rows])
    with duckdb.connect() as connection:
        connection.register("found", found)
        connection.register("wanted", wanted)
        ((surplus, missing),) = connection.execute(
            "SELECT (SELECT count(*) FROM (SELECT * FROM found EXCEPT ALL SELECT * FROM wanted)), "
            "(SELECT count(*) FROM (SELECT * FROM wanted EXCEPT ALL SELECT * FROM found))"
        ).fetchall()
    return int(surplus + missing)


def wanted(query: Query, batches: Iterable[pa.Table]) -> pa.Table:
    """The rows of the batch query over the events, whose arrival is their time."""
    with duckdb.connect() as connection:
        connection.register("given", pa.concat_tables(batches))
        connection.execute(
            'CREATE VIEW events AS SELECT *, "dateTime" AS arrival, row_number() OVER () AS n FROM given'
        )
        return connection.sql(query.batch).to_arrow_table()


async def wanted_of_log(query: Query, client: Client) -> pa.Table:
    """The same over what the stream holds, as a batch query of ours."""
    return await analytics.query(f"WITH events AS (SELECT *, ROWTIME AS arrival FROM {STREAM}) {query.batch}", client)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
