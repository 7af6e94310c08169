"""History out of delivered objects, and on into the log: the same rows as over one log that had kept everything."""

from __future__ import annotations

import itertools
import json
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from analytics_support import Crash, Sink, add_tables, cases, comparable, wanted

from analytics import Application, Input, Output, Progress, query
from analytics.inputs import Reader
from connectors.delivered.archive import Archive
from connectors.delivered.contract import Contents, Index
from connectors.delivered.reader import Reaching
from connectors.delivered.unpacking import Unreadable
from streams.core.errors import HeadraceError
from streams.core.records import Records
from streams.sdk.client import LATEST, at_timestamp
from streams.sdk.tables import read_table
from tests.firehose.harness import NEWLINES, SCOPE, House, decoded, function, processing, s3, step
from tests.firehose.test_firehose_conversion import register

DAY_S = 25 * 3_600


def conversion(*, orc: bool = False) -> dict[str, Any]:
    return {
        "DataFormatConversionConfiguration": {
            "SchemaConfiguration": {"RoleARN": "arn:aws:iam::1:role/r", "DatabaseName": "air", "TableName": "flights"},
            "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
            "OutputFormatConfiguration": {"Serializer": {"OrcSerDe" if orc else "ParquetSerDe": {}}},
        }
    }


COLUMNS = [("user", "string"), ("page", "string"), ("ms", "int"), ("price", "double")]
PROGRAM = """
CREATE STREAM "VISITS" (page VARCHAR(16), visits INTEGER, slowest INTEGER);
CREATE PUMP p1 AS INSERT INTO "VISITS"
SELECT STREAM "page", COUNT(*), MAX("ms") FROM "clicks"
GROUP BY "page", STEP("clicks".ROWTIME BY INTERVAL '10' SECOND);
CREATE STREAM "PLACES" (shard VARCHAR(32), number VARCHAR(64), price DOUBLE);
CREATE PUMP p2 AS INSERT INTO "PLACES"
SELECT STREAM "SHARD_ID", "SEQUENCE_NUMBER", "price" FROM "clicks";
"""


class Delivered:
    """What a house's delivery streams say of themselves."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def index(self, delivery_stream: str) -> Index:
        return await self._house.firehose.delivered(SCOPE, delivery_stream)

    async def contents(self, delivery_stream: str, place: str) -> Contents:
        return await self._house.firehose.contents(SCOPE, delivery_stream, place)


def click(number: int) -> bytes:
    row = {"user": f"u{number % 7}", "page": f"p{number % 3}", "ms": number, "price": number / 4}
    return json.dumps(row, indent=1 if number % 5 == 0 else None).encode()


async def kinesis(house: House, operation: str, **request: Any) -> None:
    await house.service.call(operation, decoded("kinesis", operation, request), SCOPE)


async def put(house: House, records: Sequence[bytes]) -> None:
    """Into the stream that forgets and the one that does not."""
    for stream in ("clicks", "all"):
        await house.client.put(stream, Records.of([f"k{zlib.crc32(one) % 97}" for one in records], records))


async def deliver(house: House) -> None:
    """Until all that sources hold is settled, and nothing is half done."""
    ends: dict[str, dict[str, int]] = {}
    for stream in house.streams():
        ends[stream.name] = await house.client.find(stream.source.stream, LATEST)

    def done() -> bool:
        lanes = [(stream.name, lane) for stream in house.streams() for lane in stream.lanes.values()]
        return all(
            not lane.plans and all(lane.positions().get(shard, 0) >= end for shard, end in ends[name].items())
            for name, lane in lanes
        )

    await house.until(done, step_s=20)


async def split(house: House) -> None:
    """The first shard of both streams, and the first two halves together again."""
    for stream in ("clicks", "all"):
        shards = (await house.client.describe_stream(stream)).shards
        low = next(shard for shard in shards if shard.open)
        middle = (low.hash_range.first + low.hash_range.last) // 2
        await kinesis(house, "SplitShard", StreamName=stream, ShardToSplit=low.id, NewStartingHashKey=str(middle))
        await house.until(lambda: True)
    house.clock.advance(1)
    await house.settle()


async def past_retention(house: House, destination: dict[str, Any]) -> None:
    """Two days of clicks, of which the stream holds the last one, and what came when it was split."""
    await house.client.create_stream("clicks", 2, retention_hours=24)
    await house.client.create_stream("all", 2, retention_hours=168)
    await house.create("past", kinesis="clicks", **destination)
    for turn in range(4):
        await put(house, [click(n) for n in range(turn * 50, turn * 50 + 50)])
        house.clock.advance(3)
        if turn == 1:
            await split(house)
        if turn == 2:
            await deliver(house)
    await deliver(house)
    house.clock.advance(DAY_S)
    for turn in range(4, 6):
        await put(house, [click(n) for n in range(turn * 50, turn * 50 + 50)])
        house.clock.advance(3)
    await house.settle()


def application(house: House, stream: str, sink: Sink, *, history: Archive | None = None, **more: Any) -> Application:
    return Application(
        PROGRAM.replace('"clicks"', f'"{stream}"'),
        client=house.client,
        inputs=[Input(stream, name=stream, history=history)],
        outputs=[Output(None, callback=sink)],
        clock=house.clock,
        **more,
    )


async def rows_of(house: House, stream: str, history: Archive | None = None) -> Counter[str]:
    sink = Sink()
    async with application(house, stream, sink, history=history) as running:
        await running.run(until_end=True)
    return Counter(json.dumps(row, sort_keys=True) for row in sink.rows)


FORMS: dict[str, dict[str, Any]] = {
    "lines": {},
    "gzip": {"CompressionFormat": "GZIP", **processing(NEWLINES)},
    "parquet": conversion(),
    "orc": conversion(orc=True),
}


@pytest.mark.parametrize("form", FORMS)
async def test_history_and_log_give_what_the_whole_log_gives(tmp_path: Path, form: str) -> None:
    async with House(tmp_path, firehose_compat="emulator") as house:
        await register(house, COLUMNS)
        await past_retention(house, FORMS[form])
        wanted_rows = await rows_of(house, "all")
        assert wanted_rows != await rows_of(house, "clicks"), "retention has taken nothing"
        assert wanted_rows == await rows_of(house, "clicks", Archive(Delivered(house), "past"))


async def test_retention_that_passes_a_reader_by_is_made_good(tmp_path: Path) -> None:
    """All is in the log when it begins; after the first commit nothing is, and some shards are gone."""
    async with House(tmp_path, firehose_compat="emulator") as house:
        await house.client.create_stream("clicks", 2, retention_hours=24)
        await house.client.create_stream("all", 2, retention_hours=168)
        await house.create("past", kinesis="clicks")
        for turn in range(4):
            await put(house, [click(n) for n in range(turn * 50, turn * 50 + 50)])
            house.clock.advance(3)
            if turn == 1:
                await split(house)
        await deliver(house)
        archive = Archive(Delivered(house), "past")
        await archive.open()
        wanted_records = await polled(Reader(house.client, Input("all"), {}))
        reader = Reader(Reaching(house.client, archive), Input("clicks"), {})
        assert await polled(reader, after=3, then=lambda: house.clock.advance(DAY_S)) == wanted_records
        listed = (await house.client.describe_stream("clicks")).shards
        assert len(listed) < len(reader.shards), "no shard has gone"
        archive.close()


async def polled(reader: Reader, *, after: int = -1, then: Callable[[], None] = lambda: None) -> dict[Any, Any]:
    """Every record by its place, a few at a time; after so many polls something happens."""
    await reader.open()
    found: dict[Any, Any] = {}
    for number in itertools.count():
        if number == after:
            then()
        before = reader.reading
        batches = await reader.poll(0, 0, 1_000)
        for batch in batches:
            for offset, data in enumerate(batch.records.data.to_pylist(), batch.first):
                assert (batch.shard, offset) not in found
                found[batch.shard, offset] = data
        if not batches and reader.reading == before:
            assert number > 5
            return found
    raise AssertionError("unreachable")


async def test_partitions_and_bad_records_come_back_in_their_order(tmp_path: Path) -> None:
    """Objects that share a range of offsets between them, and an error output in the midst of them."""
    jq = step("MetadataExtraction", MetadataExtractionQuery="{page: .page}", JsonParsingEngine="JQ-1.6")
    partitioned = {
        "Prefix": "page=!{partitionKeyFromQuery:page}/",
        "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
        "DynamicPartitioningConfiguration": {"Enabled": True},
        **processing(jq, NEWLINES),
    }
    async with House(tmp_path, firehose_compat="emulator") as house:
        await house.client.create_stream("clicks", 1, retention_hours=24)
        await house.client.create_stream("all", 1, retention_hours=168)
        await house.create("past", kinesis="clicks", **partitioned)
        records = [b"no json" if n % 9 == 4 else json.dumps(json.loads(click(n))).encode() for n in range(200)]
        for first in range(0, 200, 40):
            await put(house, records[first : first + 40])
            house.clock.advance(1)
        await deliver(house)
        assert len(house.objects()) == 4
        house.clock.advance(DAY_S)
        for stream in ("all", "clicks"):
            await house.client.put(stream, Records.of(["k"], [click(1)]))
        await house.settle()
        whole, sink = Sink(), Sink()
        async with application(house, "all", whole) as running:
            await running.run(until_end=True)
        # There is room for one object at a time, and each is needed again and again.
        narrow = Archive(Delivered(house), "past", size_max=1)
        async with application(house, "clicks", sink, history=narrow) as running:
            await running.run(until_end=True)
        assert Counter(name for name, _, _ in sink.rows)["error_stream"] == 22
        for rows in (whole.rows, sink.rows):
            for _, _, row in rows:
                row.pop("ERROR_TIME", None)
        assert Counter(map(repr, sink.rows)) == Counter(map(repr, whole.rows))


async def test_an_application_killed_at_every_commit_goes_on_inside_history(tmp_path: Path) -> None:
    async with House(tmp_path / "house", firehose_compat="emulator") as house:
        await register(house, COLUMNS)
        await past_retention(house, FORMS["parquet"])
        wanted_rows = Counter(
            json.dumps(json.loads(row)[2], sort_keys=True) for row in (await rows_of(house, "all")).elements()
        )
        await house.client.create_stream("VISITS")
        await house.client.create_stream("PLACES")
        outputs = [Output(name, stream=name) for name in ("VISITS", "PLACES")]
        kills = itertools.count()

        def crash(_: Progress) -> None:
            if next(kills) % 2 == 0:
                raise Crash

        for attempt in itertools.count():
            assert attempt < 100, "the application does not come to its end"
            running = Application(
                PROGRAM,
                client=house.client,
                inputs=[Input("clicks", name="clicks", history=Archive(Delivered(house), "past"))],
                outputs=outputs,
                clock=house.clock,
                path=str(tmp_path / "state.duckdb"),
                batch_rows=40,
                progress=crash,
            )
            try:
                async with running:
                    await running.run(until_end=True)
            except Crash:
                continue
            break
        assert attempt > 3
        found: Counter[str] = Counter()
        for name in ("VISITS", "PLACES"):
            for data in (await read_table(house.client, name)).column("data").to_pylist():
                row = json.loads(data)
                found[json.dumps(row, sort_keys=True)] += 1
        assert found == wanted_rows


async def test_batch_queries_begin_in_objects_too(tmp_path: Path) -> None:
    async with House(tmp_path, firehose_compat="emulator") as house:
        await register(house, COLUMNS)
        await past_retention(house, FORMS["parquet"])
        sql = 'SELECT page, count(*) AS n, min(rowtime) AS first, max("OFFSET") AS last FROM {} GROUP BY 1 ORDER BY 1'
        archive = Archive(Delivered(house), "past")
        await archive.open()
        try:
            history = {"clicks": archive}
            wanted_rows = (await query(sql.format('"all"'), house.client)).to_pylist()
            assert (await query(sql.format("clicks"), house.client, history=history)).to_pylist() == wanted_rows
            for seconds in (0, 4, 100, DAY_S + 13):  # from a time inside of history, and after it
                start = at_timestamp(house.clock.now_ms() - (DAY_S + 19) * 1000 + seconds * 1000)
                wanted_rows = (await query(sql.format('"all"'), house.client, start=start)).to_pylist()
                found = await query(sql.format("clicks"), house.client, start=start, history=history)
                assert found.to_pylist() == wanted_rows
        finally:
            archive.close()


async def refused(house: House, name: str = "past") -> str:
    """What an application is told that begins where nothing can be found."""
    with pytest.raises(HeadraceError) as error:
        await rows_of(house, "clicks", Archive(Delivered(house), name))
    return error.value.message


async def test_what_is_nowhere_is_said(tmp_path: Path) -> None:
    async with House(
        tmp_path, firehose_compat="emulator", functions={"sort_out": "tests.firehose.functions:sort_out"}
    ) as house:
        await house.client.create_stream("clicks", 1, retention_hours=24)
        assert await refused(house) == "Firehose past under account 000000000000 not found."
        await house.create("past", kinesis="clicks")
        await house.create("other", kinesis="clicks", **processing(function("sort_out")))
        await house.client.put("clicks", Records.of(["k"] * 3, [click(n) for n in range(3)]))
        await deliver(house)
        await house.client.put("clicks", Records.of(["k"] * 4, [click(n) for n in range(4)]))
        await house.firehose.close()  # nobody delivers these, and then they are over
        house.clock.advance(DAY_S)
        await house.client.put("clicks", Records.of(["k"], [click(9)]))
        assert await refused(house) == (
            "records 3 to 6 of shardId-000000000000 of stream clicks are neither in the log nor in an object of delivery"
            " stream past: it has delivered up to offset 3; begin at a time after them"
        )
        assert "a function has made others of them" in await refused(house, "other")


async def test_an_object_that_is_not_as_it_was_is_named(tmp_path: Path) -> None:
    async with House(tmp_path, firehose_compat="emulator") as house:
        await register(house, COLUMNS[1:])
        await house.client.create_stream("clicks", 1, retention_hours=24)
        await house.create("past", kinesis="clicks")
        await house.create("table", kinesis="clicks", bucket="tables", **conversion())
        await house.client.put("clicks", Records.of(["k"] * 3, [click(n) for n in range(3)]))
        await deliver(house)
        house.clock.advance(DAY_S)
        await house.client.put("clicks", Records.of(["k"], [click(9)]))
        await rows_of(house, "clicks", Archive(Delivered(house), "past"))
        (path,) = [path for path in (tmp_path / "buckets" / "lake").rglob("*") if path.is_file()]
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b" ")
        assert (await refused(house)).endswith("its bytes are not those that were put there")
        path.write_bytes(content[:-1])
        assert (await refused(house)).endswith(f"has {len(content) - 1} bytes, and {len(content)} were put there")
        path.unlink()
        assert (await refused(house)).endswith(f"{path.name} is not there: 3 records were in it")
        sql = 'SELECT "user", page FROM clicks'
        archive = Archive(Delivered(house), "table")
        await archive.open()
        with pytest.raises(Unreadable) as error:
            await query(sql, house.client, history={"clicks": archive})
        archive.close()
        assert error.value.message == (
            "the objects of delivery stream table have no column user, which the input reads: their table has page, ms,"
            " price"
        )


async def test_programs_give_their_rows_over_history_and_log(tmp_path: Path) -> None:
    """Half of the records of each are over, and in objects."""
    chosen = [case for case in cases() if case.timed][::6]
    async with House(tmp_path, firehose_compat="emulator") as house:
        client: Any = house.client
        client.clock = house.clock
        for case in chosen:
            for stream, records in case.input.items():
                await client.create_stream(stream, retention_hours=24)
                await house.create(f"past-{stream}", kinesis=stream, bucket=stream, **processing(NEWLINES))
                middle = len(records) // 2
                await client.put(stream, Records.of(["k"] * middle, records[:middle]))
            await deliver(house)
            house.clock.advance(DAY_S)
            for stream, records in case.input.items():
                await client.put(
                    stream, Records.of(["k"] * (len(records) - len(records) // 2), records[len(records) // 2 :])
                )
            sink = Sink()
            history = {stream: Archive(Delivered(house), f"past-{stream}") for stream in case.input}
            async with case.application(client, [Output(None, callback=sink)], history=history) as running:
                await running.run(until_end=True)
                await add_tables(running, sink)
            assert comparable(sink.rows, case.expected) == wanted(case.expected), case.folder.name
            for stream in case.input:
                await house.call("DeleteDeliveryStream", DeliveryStreamName=f"past-{stream}")
                await client.delete_stream(stream)


async def test_behind_a_function_the_originals_are_read(tmp_path: Path) -> None:
    functions = {"sort_out": "tests.firehose.functions:sort_out"}
    async with House(tmp_path, firehose_compat="emulator", functions=functions) as house:
        await house.client.create_stream("clicks", 2, retention_hours=24)
        await house.client.create_stream("all", 2, retention_hours=168)
        backup = {"S3BackupMode": "Enabled", "S3BackupConfiguration": s3("originals")}
        await house.create("past", kinesis="clicks", **backup, **processing(function("sort_out")))
        for turn in range(3):
            await put(house, [click(n) for n in range(turn * 20, turn * 20 + 20)])
            house.clock.advance(3)
        await deliver(house)
        house.clock.advance(DAY_S)
        await put(house, [click(60)])
        whole = await rows_of(house, "all")
        assert whole == await rows_of(house, "clicks", Archive(Delivered(house), "past"))
