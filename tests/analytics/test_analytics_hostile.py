"""Bad input to an application that runs: each row of it is a row of error_stream, and everything else comes out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from analytics_support import NOW_MS, Sink, World, world
from fsspec.implementations.local import LocalFileSystem

from analytics import Application, Input, Output, Reference, references
from analytics.mapping import CsvMapping, JsonMapping, Mapping
from analytics.references import SIZE_MAX, load
from connectors.formats.schema import Column
from streams.core.clock import ManualClock
from streams.core.errors import ValidationError

COLUMNS = [
    Column("id", pa.int64()),
    Column("v", pa.int32()),
    Column("s", pa.string()),
    Column("at", pa.timestamp("ms")),
]
PASS = """
CREATE STREAM d (id BIGINT, v INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM "id", "v" FROM SOURCE_SQL_STREAM_001;
"""
BAD_JSON = (
    b"",
    b" ",
    b"{",
    b'{"id": 1, "v": 2',
    b'{"id": 1, "v": 2}}',
    b"[1, 2]",
    b"7",
    b"null",
    b"\xff\xfe{}",
    b'{"id": 1, "v": "two"}',
    b'{"id": 1, "v": 2.5}',
    b'{"id": 1, "v": 99999999999}',
    b'{"id": 1e400, "v": 1}',
    b'{"id": 1, "v": [1]}',
    b'{"id": 1, "v": NaN}',
    b"{'id': 1, 'v': 1}",
    b"[" * 100_000,
    b'{"v":' * 50_000,
    b'{"id": "' + b"9" * 400_000 + b'", "v": 1}',
    b'{"id": 1, "v": 1}\x00\x00',
)
BAD_CSV = (
    b"",
    b"one,2",
    b"1,two",
    b"1,2.5",
    b"1,99999999999",
    b"\xff,1",
    b'"1,2',
    b"1e400,1",
    b"x" * 400_000,
    b'"a\rb"x\r,"1',
)


def json_row(number: int) -> bytes:
    return json.dumps({"id": number, "v": number % 7, "s": "x"}).encode()


def csv_row(number: int) -> bytes:
    return b"%d,%d" % (number, number % 7)


def application(client: World, sql: str, sink: Sink, mapping: Mapping | None = None, **more: object) -> Application:
    columns = COLUMNS[:2] if isinstance(mapping, CsvMapping) else COLUMNS
    options: dict[str, object] = {"inputs": [Input("input", columns=columns, mapping=mapping)], **more}
    return Application(sql, client=client, outputs=[Output(None, callback=sink)], clock=client.clock, **options)  # type: ignore[arg-type]  # any mix of options


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize(
    ("bad", "good", "mapping"),
    [
        (BAD_JSON, json_row, None),
        (BAD_JSON, json_row, JsonMapping(COLUMNS, {})),
        (BAD_CSV, csv_row, CsvMapping(COLUMNS[:2], {})),
    ],
    ids=["json", "json by schema", "csv"],
)
async def test_malformed_records_at_any_share(
    bad: Sequence[bytes], good: Callable[[int], bytes], mapping: Mapping | None, share: float, seed: int
) -> None:
    rng = random.Random(seed)
    kinds = [rng.random() < share for _ in range(400)]
    left = iter(bad * len(kinds))
    records = [next(left) if wrong else good(number) for number, wrong in enumerate(kinds)]
    async with world() as client:
        await client.create_stream("input")
        await client.give("input", records)
        sink = Sink()
        async with application(client, PASS, sink, mapping, batch_rows=150) as running:
            await running.run(until_end=True)
    rows = [(row["ID"], row["V"]) for stream, _, row in sink.rows if stream == "D"]
    expected = [(number, number % 7) for number, wrong in enumerate(kinds) if not wrong]
    # An empty record is no row of CSV, and several objects one after the other are several rows by the schema.
    found = Counter(rows)
    assert not Counter(expected) - found, "no good record is lost"
    faults = sum(stream == "error_stream" for stream, _, _ in sink.rows)
    if mapping is None:
        assert found == Counter(expected)
        assert faults == sum(kinds)
    else:
        filled = sum(wrong and bool(record.strip()) for record, wrong in zip(records, kinds, strict=True))
        assert faults >= 0.7 * filled - 1


HARD = """
CREATE STREAM halves (id BIGINT, h INTEGER);
CREATE PUMP p1 AS INSERT INTO halves SELECT STREAM "id", 100 / "v" FROM SOURCE_SQL_STREAM_001;
CREATE STREAM small (id BIGINT, t TINYINT);
CREATE PUMP p2 AS INSERT INTO small SELECT STREAM "id", "v" FROM SOURCE_SQL_STREAM_001;
CREATE STREAM large (n BIGINT, total BIGINT);
CREATE PUMP p3 AS INSERT INTO large SELECT STREAM COUNT(*), SUM("id") FROM SOURCE_SQL_STREAM_001 AS s
GROUP BY STEP(s.ROWTIME BY INTERVAL '10' SECOND);
CREATE STREAM named (id BIGINT, name VARCHAR(8));
CREATE PUMP p4 AS INSERT INTO named
SELECT STREAM s."id", n."name" FROM SOURCE_SQL_STREAM_001 AS s JOIN names AS n ON CAST(s."s" AS INTEGER) = n."code";
"""


async def until(condition: Callable[[], bool], clock: ManualClock) -> None:
    """Lets the loop and its threads run until something has happened, while time passes."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)
            clock.advance(0.01)


async def test_an_application_goes_on_through_rows_that_fail_and_clocks_that_jump(tmp_path: Path) -> None:
    names = tmp_path / "names.csv"
    names.write_text("code,name\n1,one\n2,two\n")
    async with world() as client:
        await client.create_stream("input")
        sink = Sink()
        running = application(client, HARD, sink, references=[Reference("NAMES", str(names))])
        task = asyncio.create_task(running.run())

        def rows(stream: str) -> list[dict[str, object]]:
            return [row for name, _, row in sink.rows if name == stream]

        async def give(*records: tuple[int, int | None, str | None]) -> None:
            await client.give("input", [json.dumps({"id": i, "v": v, "s": s}).encode() for i, v, s in records])

        try:
            await give((1, 1, "1"), (2, 0, "x"), (3, 300, None), (2**62, 2, "2"), (2**62, 5, "2"))
            await until(lambda: len(rows("NAMED")) == 3 and len(rows("SMALL")) == 4, client.clock)
            assert [row["H"] for row in rows("HALVES")] == [100, 0, 50, 20]
            assert [row["ID"] for row in rows("SMALL")] == [1, 2, 2**62, 2**62]
            client.clock.advance(20)
            await until(lambda: any(row["PUMP_NAME"] == "P3" for row in rows("error_stream")), client.clock)
            client.clock.advance(-3_600)  # an hour back: nothing is late, and what was closed stays so
            await give((4, 1, "1"))
            await until(lambda: len(rows("NAMED")) == 4, client.clock)
            client.clock.advance(2 * 86_400)  # and two days ahead
            await give((5, 1, "1"))
            client.clock.advance(20)
            await until(lambda: len(rows("LARGE")) == 2, client.clock)
            assert [row["N"] for row in rows("LARGE")] == [1, 1]
            kinds = Counter((row["PUMP_NAME"], row["ERROR_NAME"]) for row in rows("error_stream"))
            assert kinds == {
                ("P1", "DivideByZero"): 1,
                ("P2", "NumericOverflow"): 1,
                ("P3", "NumericOverflow"): 1,
                ("P4", "RowError"): 1,
            }
        finally:
            running.stop()
            await asyncio.gather(task, return_exceptions=True)
            await running.close()
        assert task.exception() is None


async def test_rows_far_in_the_future_close_nothing() -> None:
    sql = """CREATE STREAM d (n INTEGER);
    CREATE PUMP p AS INSERT INTO d SELECT STREAM COUNT(*) FROM SOURCE_SQL_STREAM_001 AS s
    GROUP BY STEP(s.ROWTIME BY INTERVAL '1' MINUTE)"""
    async with world() as client:
        await client.create_stream("input")
        now = NOW_MS / 1000
        times = [now, now + 5 * 366 * 86_400, now + 1, "9999-12-31 23:59:59", "1901-01-01 00:00:00", now + 2]
        await client.give("input", [json.dumps({"id": 1, "at": at}).encode() for at in times])
        sink = Sink()
        timed = [Input("input", columns=COLUMNS, rowtime="at", lateness_ms=5_000)]
        async with application(client, sql, sink, inputs=timed) as running:
            await running.run(until_end=True)
        assert [row["N"] for stream, _, row in sink.rows if stream == "D"] == [3]
        kinds = Counter(row["ERROR_NAME"] for stream, _, row in sink.rows if stream == "error_stream")
        assert kinds == {"FutureRow": 2, "LateRow": 1}


def test_a_reference_file_that_cannot_be_one_says_so(tmp_path: Path) -> None:
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate(SIZE_MAX + 1)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "bytes.parquet").write_bytes(b"PAR1" + bytes(100))
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe,x\n\x00,\x01\n")
    (tmp_path / "empty.csv").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.csv")  # nobody writes into it: reading it would never end
    for name, match in [
        ("large.csv", "has more than 1,073,741,824 bytes"),
        ("folder.csv", "folder.csv cannot be read"),
        ("bytes.parquet", "does not read as parquet"),
        ("bytes.csv", "does not read as csv"),
        ("empty.csv", "does not read as csv"),
        ("none.csv", "there is no file"),
        ("pipe.csv", "cannot be read: it is no file but of the kind other"),
    ]:
        with pytest.raises(ValidationError, match=match):
            load(Reference("R", str(tmp_path / name)))
    with pytest.raises(ValidationError, match="cannot be read: Protocol not known: nowhere"):
        load(Reference("R", "nowhere://x/y.csv"))


def test_a_reference_file_is_bounded_by_what_it_holds_and_by_what_it_becomes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "SIZE_MAX", 4_000)
    (tmp_path / "r.csv").write_bytes(b"a\n" + b"1\n" * 1_999)
    assert len(load(Reference("R", str(tmp_path / "r.csv")))) == 1_999
    (tmp_path / "r.csv").write_bytes(b"a\n" + b"1\n" * 2_000)
    with monkeypatch.context() as silent:
        silent.setattr(LocalFileSystem, "info", lambda *_, **__: {"type": "file", "size": None})
        with pytest.raises(ValidationError, match="has more than 4,000 bytes"):
            load(Reference("R", str(tmp_path / "r.csv")))
    table = pa.table({"a": ["x" * 100_000]})
    pyarrow.parquet.write_table(table, tmp_path / "r.parquet", compression="zstd")
    assert (tmp_path / "r.parquet").stat().st_size < 4_000
    with pytest.raises(ValidationError, match=r"it becomes \d+,\d+ bytes, and a table has at most 4,000"):
        load(Reference("R", str(tmp_path / "r.parquet")))


class _Files(BaseHTTPRequestHandler):
    """Files that are written until the client has enough: `/N` of N bytes, and of a length that nobody tells."""

    protocol_version = "HTTP/1.1"
    sent = 0

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        line = b"1\n" * 500
        with contextlib.suppress(OSError):
            for _ in range(int(self.path.strip("/").removesuffix(".csv")) // len(line)):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                _Files.sent += len(line)
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass


def test_a_reference_file_whose_length_nobody_tells_is_read_whole_or_as_far_as_its_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(references, "SIZE_MAX", 300_000)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert len(load(Reference("R", f"{url}/200000.csv"))) == 99_999
        with pytest.raises(ValidationError, match="has more than 300,000 bytes"):
            load(Reference("R", f"{url}/{1 << 40}.csv"))
        server.shutdown()
    assert _Files.sent < 64 << 20, "what lies behind the bound stays where it is"


@pytest.mark.soak
def test_a_reference_file_of_the_greatest_size_is_read_or_takes_nobody_along(tmp_path: Path) -> None:
    """A gigabyte becomes 63 million rows: with 2 GB of memory it ends with a MemoryError, in its own process."""
    block = b"".join(b"%d,name%d\n" % (number, number) for number in range(100_000))
    with (tmp_path / "large.csv").open("wb") as file:
        file.write(b"code,name\n")
        count = (SIZE_MAX - file.tell()) // len(block)
        for _ in range(count):
            file.write(block)
    code = (
        "from analytics.references import Reference, load\n"
        "from analytics.worker.process import bound_memory\n"
        "bound_memory(%d)\n"
        "try:\n    print(len(load(Reference('R', %r))))\n"
        "except MemoryError:\n    print('MemoryError')"
    )
    for size_max, said in [(2 << 30, "MemoryError"), (8 << 30, str(count * 100_000))]:
        command = [sys.executable, "-c", code % (size_max, str(tmp_path / "large.csv"))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == said, done.stderr[-400:]


async def test_rows_that_a_subquery_leaves_out_fail_for_nothing() -> None:
    sql = """CREATE STREAM d (id BIGINT);
    CREATE PUMP p AS INSERT INTO d SELECT STREAM x.id
    FROM (SELECT STREAM "id" AS id, "v" AS v FROM SOURCE_SQL_STREAM_001 WHERE "v" BETWEEN 0 AND 9) AS x
    WHERE 100 / x.v > 10 AND x.v * x.v < 50"""
    async with world() as client:
        await client.create_stream("input")
        await client.give("input", [json.dumps({"id": v, "v": v}).encode() for v in (2**31 - 1, 5, 0, -(2**31), 9)])
        sink = Sink()
        async with application(client, sql, sink) as running:
            await running.run(until_end=True)
    assert [row["ID"] for stream, _, row in sink.rows if stream == "D"] == [5]
    assert [row["ERROR_NAME"] for stream, _, row in sink.rows if stream == "error_stream"] == ["DivideByZero"]
