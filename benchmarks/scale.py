"""Many shards and many streams: what is asked of one stream must not cost more because there are others, or because it
has many shards."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import msgspec
import uvloop

from benchmarks import aws
from benchmarks.connection import Connection, request
from benchmarks.harness import Benchmark, Figure, Outcome, Verdict, progress
from benchmarks.subjects import HOST, headrace, serving
from streams.sdk.http import HttpClient

MANY = 1_000
TIMES_MAX = 2.0
ROUNDS = 5
WARM = 12
"""PutRecords of 500 records before anything is measured: of 1,000 shards, two or three are then without a record."""
STREAM = aws.STREAM


def scale(quick: bool) -> Outcome:
    """Each server in turn, several times, since the machine changes its mind; medians of milliseconds a request."""
    many = 100 if quick else MANY
    settings = {
        "one": (1, 1),
        f"{many} shards": (many, 1),
        f"{many} streams": (1, many),
    }
    taken: dict[str, dict[str, list[float]]] = {name: {} for name in settings}
    for number, name in itertools.product(range(1 if quick else ROUNDS), settings):
        shards, streams = settings[name]
        progress(f"{name}, round {number + 1}")
        with serving(headrace()) as server:
            for case, value in uvloop.run(_measure(server.port, shards, streams, 50 if quick else 200)).items():
                taken[name].setdefault(case, []).append(value)
    outcome = Outcome(figures=[])
    medians = {
        name: {case: sorted(values)[len(values) // 2] for case, values in cases.items()}
        for name, cases in taken.items()
    }
    for name, cases in medians.items():
        outcome.figures.append(Figure(case=name, subject="headrace", metrics=cases))
        for case, value in cases.items() if name != "one" else ():
            times = value / medians["one"][case]
            outcome.verdicts.append(
                Verdict(
                    promise=f"{case} with {name}: within {TIMES_MAX:g} × of one",
                    measured=f"{times:.2f} ×",
                    met=times <= TIMES_MAX,
                )
            )
    return outcome


async def _measure(port: int, shards: int, streams: int, rounds: int) -> dict[str, float]:
    """Milliseconds of each kind of request."""
    client = HttpClient(f"http://{HOST}:{port}")
    await client.create_stream(STREAM, shards)
    for number in range(1, streams):
        await client.create_stream(f"other-{number}", 1)
    await client.close()
    connection = Connection(HOST, port)
    numbers = itertools.count()
    for _ in range(WARM):
        # A log that runs has its shards' files open, and the first frame of each behind it.
        asked = request(HOST, port, "PutRecords", aws.put_records_body(500, 100, next(numbers)))
        assert (await connection.ask(asked)).status == 200
    questions: dict[str, tuple[str, Callable[[], bytes]]] = {
        "DescribeStreamSummary ms": ("DescribeStreamSummary", lambda: _json(StreamName=STREAM)),
        "DescribeStream ms": ("DescribeStream", lambda: _json(StreamName=STREAM, Limit=1)),
        "ListShards ms": ("ListShards", lambda: _json(StreamName=STREAM, MaxResults=1)),
        "ListStreams ms": ("ListStreams", lambda: _json(Limit=1)),
        "PutRecord ms": ("PutRecord", lambda: aws.put_record_body(1024, next(numbers))),
        "PutRecords 500 ms": ("PutRecords", lambda: aws.put_records_body(500, 1024, next(numbers))),
    }
    found = {}
    for case, (operation, body) in questions.items():
        asks = [request(HOST, port, operation, body()) for _ in range(rounds)]
        for ask in asks[:10]:
            await connection.ask(ask)
        taken = []
        for ask in asks:
            began = time.perf_counter()
            answer = await connection.ask(ask)
            taken.append(time.perf_counter() - began)
            assert answer.status == 200, answer.body
        found[case] = sorted(taken)[len(taken) // 2] * 1000
    return found


def _json(**members: Any) -> bytes:
    return msgspec.json.encode(members)


BENCHMARKS = [Benchmark(name="scale", title="1,000 shards, 1,000 streams", minutes=3.0, run=scale)]
