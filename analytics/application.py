"""`Application`: a program that runs. The driver around the machines: it reads, lets them work, commits, delivers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from analytics import faults
from analytics.compiler import compile_program
from analytics.delivery import Delivery, named
from analytics.engine import Engine, Step
from analytics.errors import SqlError
from analytics.explaining import Explained, explain
from analytics.feeds import TICK_MS, Feeds, Now
from analytics.inputs import Input
from analytics.intake import Intake
from analytics.journal import Entry
from analytics.keeping import Keeping
from analytics.limits import Limits
from analytics.outputs import Output
from analytics.plan import Plan, StreamPlan
from analytics.processing import Processed
from analytics.program import ERROR_STREAM, Program, parse
from analytics.references import Reference, load
from analytics.showing import REFERENCES, ROWS_KEPT, Showing, Shown, read, shown
from analytics.state import State
from analytics.statements import TOO_DEEP
from connectors.formats.schema import Column
from streams.core.clock import Clock, SystemClock
from streams.sdk.client import Client

BATCH_ROWS_MAX = 250_000
"""Records of one micro-batch: what it costs beside its rows, some milliseconds a pump, is then a fiftieth of a microsecond a
record. Of records of more than a hundred bytes, what is read ahead (`analytics.ahead.SIZE_MAX`) makes batches smaller."""
WAIT_MS = 5_000
"""How long it waits where only records make a difference: the time a stop may take."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What one commit did. `frontiers` by input in milliseconds; `behind` counts records known and not read."""

    records: int
    rows: int
    faulty: int
    frontiers: dict[str, int | None]
    behind: int
    open_until_ms: int | None


class Application:
    """A program with its inputs, reference tables and outputs.

    `path` is the file that keeps its state; with it, rows reach streams and files exactly once through any crash. None:
    everything is in memory, and begins anew with the process. `progress` is told of every commit, before its rows are
    delivered, and `observe` of the rows of every stream, in a thread, without any promise. `generation` and `memory_max`
    are those of `State`; `limits` hold for functions in Python; `keep` is that of `analytics.keeping`. `rows_kept` are the last
    rows of each stream that `read` sees: by default 10,000 where there is a `path`, else none. One `run` at a time.
    """

    def __init__(
        self,
        program: str,
        *,
        client: Client,
        inputs: Sequence[Input],
        references: Sequence[Reference] = (),
        outputs: Sequence[Output] = (),
        path: str | None = None,
        clock: Clock | None = None,
        batch_rows: int = BATCH_ROWS_MAX,
        progress: Callable[[Progress], None] | None = None,
        observe: Callable[[str, pa.RecordBatch], None] | None = None,
        generation: int | None = None,
        memory_max: int | None = None,
        limits: Limits | None = None,
        keep: Callable[[], Awaitable[None]] | None = None,
        rows_kept: int | None = None,
    ) -> None:
        """Raises `SqlError` where the program does not parse; the rest is checked by `open`."""
        self._program: Program = parse(program)
        self._text = program
        self._client = client
        self._references = list(references)
        self._delivery = Delivery(outputs)
        self._path = path
        self._clock = clock or SystemClock()
        self._intake = Intake(inputs, client, self._clock, known_source=generation is not None)
        self._keeping = Keeping(self._delivery, self._clock, keep)
        self._progress = progress
        self._observe = observe
        self._generation = generation
        self._memory_max = memory_max
        self._limits = limits
        self._rows_kept = (0 if path is None else ROWS_KEPT) if rows_kept is None else rows_kept
        self._stop = asyncio.Event()
        self._plan = Plan((), {}, {}, {})
        self._streams: dict[str, StreamPlan] = {}
        self._state: State | None = None
        self._polling: asyncio.Task[None] | None = None
        self._feeds = Feeds(self._clock, batch_rows)

    async def open(self) -> Plan:
        """Finds the columns, compiles, and opens the state; nothing runs yet. Raises `SqlError` for a program that does
        not fit its inputs, `ValidationError` for options and files that are wrong."""
        if self._state is None:
            try:
                await self._open()
            except BaseException as error:
                await self.close()
                if isinstance(error, RecursionError):
                    raise SqlError(TOO_DEEP) from None
                raise
        return self._plan

    async def _open(self) -> None:
        columns = await self._intake.columns()
        tables = {each.name: await asyncio.to_thread(load, each) for each in self._references}
        shapes = {name: [Column(field.name, field.type) for field in table.schema] for name, table in tables.items()}
        found = {each.name for each in self._intake.inputs if each.columns is None}
        self._plan = await asyncio.to_thread(compile_program, self._program, columns, shapes, found)
        self._streams = {**self._plan.streams, ERROR_STREAM: faults.STREAM}
        self._delivery.check(self._streams)
        self._state = await asyncio.to_thread(self._open_state, tables)
        self._delivery.open(self._state, self._client, self._clock)
        async for feed in self._intake.feeds(self._plan, self._state, columns):
            self._feeds.every.append(feed)

    async def run(self, *, until_end: bool = False) -> None:
        """Runs until `stop`. With `until_end`, reads what the inputs hold now, closes every window, and returns."""
        await self.open()
        try:
            await self._keeping.hand_out(self._opened, self._opened.outbox(), now=True)
            if until_end:
                await self._run_to_end()
            else:
                await self._run_live()
            await self._keeping.hand_out(self._opened, [], now=True)
            await asyncio.to_thread(self._tidy)
        finally:
            if self._polling is not None:
                self._polling.cancel()
                await asyncio.gather(self._polling, return_exceptions=True)
                self._polling = None

    def stop(self) -> None:
        """`run` returns after the micro-batch at hand has been committed and delivered. To go on, open another
        application on the same state."""
        self._stop.set()

    async def close(self) -> None:
        """Closes the state. Windows that are open stay in it."""
        if self._state is not None:
            self._state.close()
            self._state = None
        self._feeds.close()
        await self._delivery.close()
        await self._intake.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def streams(self) -> dict[str, StreamPlan]:
        """The in-application streams, by name, once it is open."""
        return self._streams

    def shown(self) -> list[Shown]:
        """What `read` has: streams, tables and reference tables, with the types of their columns."""
        return shown(self._opened.connection)

    @property
    def tables(self) -> list[str]:
        """Those of them that are tables."""
        return [name for name, stream in self._streams.items() if stream.retain is not None]

    def explain(self) -> Explained:
        """What it does and keeps, while it is open and does not run."""
        at_ms = {feed.name: feed.time.at_ms for feed in self._feeds.every}
        return explain(self._plan, self._opened.connection, at_ms, self._engine.open_until_ms)

    async def read(self, tables: Mapping[str, Sequence[str] | None]) -> dict[str, pa.Table]:
        """What queries see of it after one commit, while it runs or not: streams' last rows, tables and reference tables,
        by name, with the columns that are given (None: all). Raises `SqlError` for names that are none."""
        connection = self._opened.connection.cursor()
        try:
            return await asyncio.to_thread(read, connection, tables, self._rows_kept)
        finally:
            connection.close()

    @property
    def open_until_ms(self) -> int | None:
        """When the first open window ends; None if none is open."""
        return None if self._state is None else self._engine.open_until_ms

    @property
    def _opened(self) -> State:
        assert self._state is not None, "the application is not open"
        return self._state

    def _open_state(self, tables: dict[str, pa.Table]) -> State:
        text = self._text
        if self._generation is not None:
            text += "".join(f"\n-- {each.name} {list(each.columns or ())}" for each in self._intake.inputs)
        state = State(self._path, text, self._generation, self._memory_max)
        Engine.create(self._plan, state.connection)
        state.connection.execute(f"ATTACH ':memory:' AS {REFERENCES}")
        for name, relation in self._plan.references.items():
            renamed = tables[name].rename_columns([field.physical for field in relation.fields])
            state.connection.register("loaded", renamed)
            source = f"{REFERENCES}.main.{relation.physical}"
            state.connection.execute(f"CREATE TABLE {source} AS SELECT * FROM loaded")
            state.connection.execute(f"CREATE TEMP VIEW {relation.physical} AS SELECT * FROM {source}")
            state.connection.unregister("loaded")
        self._showing = Showing(state.connection, list(self._streams.values()), self._rows_kept)
        self._showing.open(self._plan)
        self._engine = Engine(self._plan, state.connection, self._limits)
        self._engine.recover()
        return state

    async def _run_live(self) -> None:
        stopped = asyncio.create_task(self._stop.wait())
        try:
            while not self._stop.is_set():
                if not await self._read(stopped):
                    break
                await self._work(self._feeds.take(None))
        finally:
            stopped.cancel()

    async def _read(self, stopped: asyncio.Task[bool]) -> bool:
        """Waits until there are records, time to look at the clock, or a stop (False)."""
        if not self._feeds.waiting or self._polling is not None:
            polling = self._polling or self._start_poll(self._wait_ms())
            await asyncio.wait({polling, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not polling.done():
                return False
            self._polling = None
            polling.result()
        return True

    def _wait_ms(self) -> int:
        return WAIT_MS if self._engine.open_until_ms is None and not self._keeping.waiting else TICK_MS

    async def _run_to_end(self) -> None:
        ends = [await feed.reader.tips() for feed in self._feeds.every]
        while not self._stop.is_set():
            if not self._feeds.waiting:
                shards = [feed.reader.reading for feed in self._feeds.every]
                await self._feeds.poll(0)
                if not self._feeds.waiting and shards == [feed.reader.reading for feed in self._feeds.every]:
                    break
            await self._work(self._feeds.take(ends))
        if not self._stop.is_set():
            await self._work(self._feeds.take(ends), end=True)

    def _start_poll(self, wait_ms: int) -> asyncio.Task[None]:
        self._polling = asyncio.create_task(self._feeds.poll(wait_ms), name="application reads ahead")
        return self._polling

    async def _work(self, inputs: list[Now], *, end: bool = False) -> None:
        """One micro-batch: computed, committed, delivered. Meanwhile the next records of a backlog are read."""
        # Without a backlog, what is read now would only wait for its turn, and what comes after it too.
        if not end and not self._feeds.enough and not self._stop.is_set() and self._feeds.backlog:
            self._start_poll(0)
        processed = await self._process(inputs)
        if processed is None:
            return
        entries = await asyncio.to_thread(self._compute, inputs, processed, end)
        await self._keeping.hand_out(self._opened, entries)
        if self._polling is not None:
            polling, self._polling = self._polling, None
            await polling

    async def _process(self, inputs: list[Now]) -> list[list[Processed | None]] | None:
        """What the functions before the inputs make of the batches; None: the application was stopped meanwhile, and
        nothing has been done."""
        if all(feed.processor is None for feed in self._feeds.every):
            return [[None] * len(now.pieces) for now in inputs]
        working = asyncio.create_task(self._feeds.process(inputs))
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            stopped.cancel()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    def _compute(self, inputs: list[Now], processed: list[list[Processed | None]], end: bool) -> list[Entry]:
        now_ms = self._clock.now_ms()
        taken = self._feeds.rows(inputs, processed, now_ms, end=end)
        step = self._engine.step(taken.tables, taken.frontiers, now_ms)
        if end and step.closed_ms is not None:
            for feed in self._feeds.every:
                feed.time.finish(step.closed_ms)
        faulty = [*taken.faulty, *(table for table in step.faulty if len(table))]
        entries = self._delivery.encode(step.rows, faulty)
        records = sum(len(piece.batch) for now in inputs for piece in now.pieces)
        if records or entries or step.changes.closed or step.changes.operators:
            times = {feed.name: (dict(feed.reader.taken), feed.time) for feed in self._feeds.every}
            made = {**step.rows, **({ERROR_STREAM: pa.concat_tables(faulty)} if faulty else {})}
            step.changes.kept += self._showing.changes(made)
            self._opened.commit(step.changes, times, entries, self._delivery.delivered)
            self._engine.applied(step.changes)
            self._delivery.delivered = []
            self._keeping.changed()
            self._show(step, faulty)
            self._report(step, records, sum(len(table) for table in faulty), inputs)
        return entries

    def _show(self, step: Step, faulty: list[pa.Table]) -> None:
        if self._observe is None:
            return
        for name, stream in self._streams.items():
            rows = step.rows.get(stream.physical)
            if name == ERROR_STREAM and faulty:
                rows = pa.concat_tables(faulty)
            if rows is not None:
                for batch in named(rows, stream):
                    self._observe(name, batch)

    def _report(self, step: Step, records: int, faulty: int, inputs: list[Now]) -> None:
        if self._progress is None:
            return
        made = sum(len(step.rows.get(stream.physical, ())) for stream in self._plan.streams.values())
        self._progress(
            Progress(
                records,
                made,
                faulty,
                {feed.name: feed.time.at_ms for feed in self._feeds.every},
                sum(feed.reader.backlog for feed in self._feeds.every),
                self._engine.open_until_ms,
            )
        )

    def _tidy(self) -> None:
        """Forgets deliveries that have been made, so that the next start does not repeat them."""
        if self._delivery.delivered:
            self._opened.forget(self._delivery.delivered)
            self._delivery.delivered = []
