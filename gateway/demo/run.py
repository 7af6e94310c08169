"""The demo from the first file to the last count."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from gateway.demo import delivery, flights, puts, query, reconcile, show
from gateway.demo.reconcile import Reconciliation
from gateway.demo.server import serving

T = TypeVar("T")

STREAM = "flights"
SHARDS = 4


def run(keep: Path | None, limit: int | None, console: Console) -> bool:
    """Whether everything agreed. `keep` is a folder that stays, `limit` a number of flights instead of all."""
    began = time.perf_counter()
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        progress = stack.enter_context(_progress(console))
        server = stack.enter_context(ExitStack())
        files = _step(progress, "flights, airlines and weather to CSV", lambda: flights.write(folder, limit))
        keys, data = _step(progress, "rows to JSON", lambda: flights.records(files))
        endpoint = _step(progress, "the server starts", lambda: server.enter_context(serving(folder / "data")))
        arn = _create(endpoint)
        delivery.create(endpoint, arn)
        bucket = folder / "data" / "buckets" / delivery.BUCKET
        leaving = len(keys) - sum(b'"dep_time":null' in row for row in data)
        begun = threading.Event()
        put, windows, parquet = (
            _counter(progress, "put with boto3", len(keys)),
            _counter(progress, "read by SQL, hourly windows", len(keys)),
            _counter(progress, "delivered as Parquet", leaving),
        )

        def query_when_begun() -> query.Hourly:
            # An application that starts before every shard has records takes the empty ones to be ahead of all time.
            begun.wait()
            return query.hourly(endpoint, STREAM, files, folder / "hourly.duckdb", len(keys), windows)

        with ThreadPoolExecutor(3) as pool:
            querying = pool.submit(query_when_begun)
            delivering = pool.submit(delivery.wait, bucket, leaving, parquet)
            try:
                acknowledged = puts.put(endpoint, STREAM, keys, data, put, begun)
            except BaseException:
                server.close()  # or the query would wait for records for ever
                begun.set()
                raise
            hourly = querying.result()
            delivering.result()
        weather = _step(progress, "batch SQL over the log", lambda: query.weather(endpoint, STREAM, files))
        logged = _step(progress, "the log is read back", lambda: query.count(endpoint, STREAM))
        done = _step(
            progress,
            "everything again in DuckDB",
            lambda: _reconcile(files, acknowledged, logged, bucket, hourly, weather),
        )
    show.carriers(console, hourly.windows)
    show.chart(console, hourly.windows)
    show.weather(console, weather)
    show.reconciliation(console, done)
    console.print(f"{len(keys):,} flights in {time.perf_counter() - began:.1f} s")
    if keep is not None:
        console.print(f"kept in {keep}: the CSV files, and data/ with the log and buckets/{delivery.BUCKET}")
    return done.agreed


def _create(endpoint: str) -> str:
    """Makes the stream; its ARN."""
    kinesis = puts.client("kinesis", endpoint)
    kinesis.create_stream(StreamName=STREAM, ShardCount=SHARDS)
    kinesis.get_waiter("stream_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1})
    return str(kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]["StreamARN"])


def _reconcile(
    files: flights.Files,
    acknowledged: Counter[str],
    logged: Counter[str],
    bucket: Path,
    hourly: query.Hourly,
    weather: reconcile.Rows,
) -> Reconciliation:
    truth = reconcile.truth(files)
    parquet, failed = reconcile.delivered(bucket)
    rows = sum(count for (count,) in parquet.values())
    done = Reconciliation()
    done.equal("records put = flights in the CSV", truth.flights, acknowledged.total())
    done.rows(
        "records in the log = records put, by shard",
        {(shard,): (count,) for shard, count in acknowledged.items()},
        {(shard,): (count,) for shard, count in logged.items() if count},
        f"{logged.total():,} in {len(logged)} shards",
    )
    done.equal(
        "in Parquet + dropped + failed = records put",
        acknowledged.total(),
        rows + truth.cancelled + failed,
        f"{rows:,} + {truth.cancelled:,} + {failed:,}",
    )
    done.equal("failed = 0", 0, failed)
    done.rows("Parquet by month and delay class = CSV", truth.by_month, parquet)
    done.rows(
        "hourly windows = the same in batch over the CSV",
        truth.hourly,
        hourly.windows,
        f"{len(hourly.windows):,} windows",
    )
    done.equal("windows that came twice + rows in the error stream = 0", 0, hourly.twice + hourly.faulty)
    done.rows("delay by visibility = the same in batch over the CSV", truth.weather, weather)
    return done


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def _step(progress: Progress, what: str, work: Callable[[], T]) -> T:
    task = progress.add_task(what, total=1)
    result = work()
    progress.advance(task)
    return result


def _counter(progress: Progress, what: str, total: int) -> Callable[[int], None]:
    task: TaskID = progress.add_task(what, total=total)
    return lambda count: progress.advance(task, count)
