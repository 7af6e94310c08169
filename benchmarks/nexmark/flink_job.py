"""Runs in Flink's own environment: queries over JSON files or over generated rows, into a sink that keeps nothing.

Reads one JSON object on stdin, the order of `benchmarks.nexmark.flink`, and writes a line of JSON for each query: its name,
events a second, and CPU seconds of the JVM per million events; or its name and an error. A job's start is not counted: what
is measured is the difference between a long and a short job, after another short one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from pyflink.common import Types, WatermarkStrategy
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.number_seq import NumberSequenceSource
from pyflink.table import EnvironmentSettings, StreamTableEnvironment, TableDescriptor

SETTINGS = {
    "pipeline.object-reuse": "true",
    "state.backend.type": "hashmap",
    "table.exec.mini-batch.enabled": "true",
    "table.exec.mini-batch.allow-latency": "2 s",
    "table.exec.mini-batch.size": "50000",
    "table.exec.resource.default-parallelism": "2",
    "table.local-time-zone": "UTC",
}
COLUMNS = """event_type INT, id BIGINT, name STRING, emailAddress STRING, creditCard STRING, city STRING, state STRING,
itemName STRING, description STRING, initialBid BIGINT, reserve BIGINT, expires TIMESTAMP(3), seller BIGINT, category BIGINT,
auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3), extra STRING"""
WATERMARK = "WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND"
# Flink's own generator makes rows, with texts as long as those of our bids are in the mean. Ten thousand auctions, persons and
# channels are fewer than ours are, which is in its favour.
DATAGEN = {
    "kind INT": {"min": 0, "max": 49},
    "auction BIGINT": {"min": 1_000, "max": 11_000},
    "bidder BIGINT": {"min": 1_000, "max": 11_000},
    "price BIGINT": {"min": 100, "max": 100_000_000},
    "place INT": {"min": 0, "max": 20_000},
    "`dateTime` TIMESTAMP(3)": {},
    "extra STRING": {"length": 68},
}
FROM_DATAGEN = """SELECT CASE WHEN kind = 0 THEN 0 WHEN kind < 4 THEN 1 ELSE 2 END AS event_type, auction, bidder, price,
CASE WHEN place < 2500 THEN 'Google' WHEN place < 5000 THEN 'Facebook' WHEN place < 7500 THEN 'Baidu' WHEN place < 10000
THEN 'Apple' ELSE 'channel-' || CAST(place AS STRING) END AS channel,
'https://www.nexmark.com/abo/eoci/cidr/item.htm?query=1&channel_id=' || CAST(place AS STRING) AS url, `dateTime`, extra
FROM made"""
# No rows at all: columns that Flink compiles into one with the query, and leaves out where nobody asks for them. No text is a
# constant, though: of a constant URL the planner takes the directories once and for all, and q21 and q22 have nothing to do.
SUMS = """SELECT CASE WHEN MOD(n, 50) = 0 THEN 0 WHEN MOD(n, 50) < 4 THEN 1 ELSE 2 END AS event_type,
1000 + n / 50 * 3 + MOD(n, 100) AS auction, 1000 + n / 50 + MOD(n, 1000) AS bidder, MOD(n * 7919, 100000000) AS price,
CASE MOD(n, 8) WHEN 0 THEN 'Google' WHEN 1 THEN 'Facebook' WHEN 2 THEN 'Baidu' WHEN 3 THEN 'Apple' ELSE 'channel-4711' END
AS channel, 'https://www.nexmark.com/abo/eoci/cidr/item.htm?query=1&channel_id=' || CAST(n AS STRING) AS url,
CAST(TO_TIMESTAMP_LTZ(1436918400000 + n / 10, 3) AS TIMESTAMP(3)) AS `dateTime`,
'abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghij' || CAST(n AS STRING) AS extra FROM numbers"""


def main() -> None:
    order = json.load(sys.stdin)
    jvm = Jvm()
    for query in order["queries"]:
        try:
            run(order, query, order["short"])
            short, long = run(order, query, order["short"], jvm), run(order, query, order["long"], jvm)
        except Exception as error:
            causes = [line for line in str(error).splitlines() if "Exception: " in line]
            report(query, error=causes[-1].strip() if causes else str(error)[:200])
            continue
        events = (order["long"] - order["short"]) * order["unit"] * query["scale"]
        report(query, rate=events / (long[0] - short[0]), cpu_s_per_million=(long[1] - short[1]) / events * 1e6)


def report(query: dict[str, Any], **found: object) -> None:
    print(json.dumps({"name": query["name"], **found}), flush=True)


def run(order: dict[str, Any], query: dict[str, Any], units: int, jvm: Jvm | None = None) -> tuple[float, float]:
    """Seconds and CPU seconds of one job over `units` files, or as many units of generated events."""
    env = StreamExecutionEnvironment.get_execution_environment()
    env.set_parallelism(2)
    tables = StreamTableEnvironment.create(env, environment_settings=EnvironmentSettings.in_streaming_mode())
    for key, value in SETTINGS.items():
        tables.get_config().set(key, value)
    create_events(env, tables, order, query, units)
    side = f"'connector' = 'filesystem', 'format' = 'csv', 'csv.ignore-parse-errors' = 'true', 'path' = 'file://{order['side']}'"
    tables.execute_sql(f"CREATE TABLE side (`key` BIGINT, `value` STRING) WITH ({side})")
    for number, name in enumerate(("person", "auction", "bid")):
        if name == "bid" or order["source"] == "json":
            columns = "*, PROCTIME() AS arrival"
            tables.execute_sql(
                f"CREATE TEMPORARY VIEW {name} AS SELECT {columns} FROM events WHERE event_type = {number}"
            )
    result = tables.sql_query(query["sql"])
    cpu = jvm.cpu_s() if jvm else 0.0
    began = time.perf_counter()
    result.execute_insert(TableDescriptor.for_connector("blackhole").build()).wait()
    return time.perf_counter() - began, (jvm.cpu_s() if jvm else 0.0) - cpu


def create_events(
    env: StreamExecutionEnvironment,
    tables: StreamTableEnvironment,
    order: dict[str, Any],
    query: dict[str, Any],
    units: int,
) -> None:
    """The table or view `events` of `units` units."""
    count = units * order["unit"] * query["scale"]
    if order["source"] == "json":
        options = "'connector' = 'filesystem', 'format' = 'json', 'json.timestamp-format.standard' = 'SQL'"
        path = Path(order["folder"]) / str(units)
        tables.execute_sql(f"CREATE TABLE events ({COLUMNS}, {WATERMARK}) WITH ({options}, 'path' = 'file://{path}')")
    elif order["source"] == "datagen":
        options = f"'connector' = 'datagen', 'rows-per-second' = '1000000000', 'number-of-rows' = '{count}'"
        for column, bounds in DATAGEN.items():
            name = column.split()[0].strip("`")
            options += "".join(f", 'fields.{name}.{key}' = '{value}'" for key, value in bounds.items())
        tables.execute_sql(f"CREATE TEMPORARY TABLE made ({', '.join(DATAGEN)}) WITH ({options})")
        tables.execute_sql(f"CREATE TEMPORARY VIEW events AS {FROM_DATAGEN}")
    else:
        source = NumberSequenceSource(0, count - 1)
        numbers = env.from_source(source, WatermarkStrategy.no_watermarks(), "numbers", Types.LONG())
        tables.create_temporary_view("numbers", tables.from_data_stream(numbers).alias("n"))
        tables.execute_sql(f"CREATE TEMPORARY VIEW events AS {SUMS}")


class Jvm:
    """The child process that runs the jobs."""

    def __init__(self) -> None:
        StreamExecutionEnvironment.get_execution_environment()
        self._ticks = os.sysconf("SC_CLK_TCK")

    def cpu_s(self) -> float:
        total = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)
            except OSError:
                continue
            rest = fields[1].split()
            if int(rest[1]) == os.getpid():
                total += int(rest[11]) + int(rest[12])
        return total / self._ticks


if __name__ == "__main__":
    main()
