from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path

from tests.cli.cli_server import HEADRACE, Headrace, Server

PROGRAM = """
CREATE STREAM "DEAR" ("ticker" VARCHAR(4), "price" INTEGER);
CREATE PUMP p AS INSERT INTO "DEAR" SELECT STREAM "ticker", "price" FROM "SOURCE_SQL_STREAM_001" WHERE "price" > 10;
"""


def test_an_application_is_made_run_watched_changed_and_stopped(
    headrace: Headrace, server: Server, tmp_path: Path
) -> None:
    source, target, name = (f"{kind}-{uuid.uuid4().hex[:8]}" for kind in ("in", "out", "app"))
    for stream in (source, target):
        assert headrace("stream", "create", stream).exit_code == 0
    headrace("put", source, "--key", "k", stdin='{"ticker": "AMZN", "price": 12}\n')
    program = tmp_path / "app.sql"
    program.write_text(PROGRAM)
    made = headrace("app", "create", name, str(program), "--input", source, "--to", f"DEAR=stream:{target}")
    assert made.exit_code == 0, made.stderr
    assert "found in the records: ticker VARCHAR(8), price INTEGER" in made.stderr
    started = headrace("app", "start", name, "--from", "trim_horizon")
    assert (started.exit_code, started.stderr) == (0, f"application {name} runs\n")
    shown = headrace("tail", target, "--from", "trim_horizon", "--limit", "1")
    assert '{"ticker":"AMZN","price":12}' in shown.stdout
    watching = subprocess.Popen(
        [*HEADRACE, "app", "tail", name, "DEAR", "--limit", "1", "--json", "--endpoint", server.url],
        stdout=subprocess.PIPE,
        text=True,
    )
    while watching.poll() is None:  # what was made before it watches is not shown
        headrace("put", source, "--key", "k", stdin='{"ticker": "TBV", "price": 13}\n')
    assert watching.stdout is not None
    (line,) = watching.stdout.read().splitlines()
    assert json.loads(line)["stream"] == "DEAR"
    assert json.loads(line)["row"]["ticker"] == "TBV"
    program.write_text(PROGRAM.replace("> 10", "> 100"))
    assert f"application {name} has version 2" in headrace("app", "update", name, str(program)).stderr
    told = json.loads(headrace("app", "describe", name, "--json").stdout)
    assert told["ApplicationVersionId"] == 2
    assert "> 100" in told["ApplicationCode"]
    assert told["Health"]["status"] == "RUNNING"
    table = headrace("app", "describe", name).stdout
    assert f"DEAR to arn:aws:kinesis:us-east-1:000000000000:stream/{target} as JSON" in table
    assert name in headrace("app", "list").stdout
    wrong = headrace("app", "tail", name, "DEER")
    assert (wrong.exit_code, "has no stream DEER" in wrong.stderr) == (1, True)
    assert "has stopped" in headrace("app", "stop", name).stderr
    absent = headrace("app", "describe", name[:-1])
    assert absent.exit_code == 1
    assert f"did you mean {name}?" in absent.stderr
    assert "is gone" in headrace("app", "delete", name, "--yes").stderr
    assert {"name": name, "status": "READY"} not in json.loads(headrace("app", "list", "--json").stdout)


def test_a_program_that_is_wrong_is_told(headrace: Headrace, stream: str, tmp_path: Path) -> None:
    program = tmp_path / "app.sql"
    program.write_text(PROGRAM.replace('"price" > 10', '"prise" > 10'))
    headrace("put", stream, "--key", "k", stdin='{"ticker": "AMZN", "price": 12}\n')
    made = headrace("app", "create", "wrong", str(program), "--input", stream)
    assert made.exit_code == 1
    assert 'has no column prise; did you mean "price"?' in made.stderr
    assert headrace("app", "create", "wrong", str(program)).exit_code == 2
    made = headrace("app", "create", "wrong", str(program), "--input", stream, "--to", "DEAR=nowhere")
    assert made.exit_code == 2


def test_a_query_sees_the_tables_of_an_application_that_runs_or_has_stopped(headrace: Headrace, tmp_path: Path) -> None:
    source, name = (f"{kind}-{uuid.uuid4().hex[:8]}" for kind in ("in", "app"))
    headrace("stream", "create", source)
    lines = [{"ticker": ticker, "price": price} for ticker, price in (("AMZN", 12), ("TBV", 3), ("AMZN", 30))]
    headrace("put", source, "--key", "k", stdin="".join(f"{json.dumps(line)}\n" for line in lines))
    program = tmp_path / "app.sql"
    totals = """CREATE TABLE totals (ticker VARCHAR(4), n INTEGER, total INTEGER) RETAIN 100 KEYS;
    CREATE PUMP q AS INSERT INTO totals SELECT STREAM "ticker", COUNT(*), SUM("price") FROM "SOURCE_SQL_STREAM_001"
    GROUP BY "ticker";"""
    program.write_text(PROGRAM + totals)
    assert headrace("app", "create", name, str(program), "--input", source).exit_code == 0
    before = headrace("sql", f'SELECT * FROM "{name}".totals')
    assert (before.exit_code, before.stderr.strip()) == (
        1,
        f"headrace: Application {name} does not run, and it has never run, so there is nothing to read.",
    )
    assert headrace("app", "start", name, "--from", "trim_horizon").exit_code == 0

    def ask(query: str) -> list[dict[str, object]]:
        found = headrace("sql", "--output", "json", query)
        assert found.exit_code == 0, found.stderr
        return [json.loads(line) for line in found.stdout.splitlines()]

    query = f'SELECT ticker, n, total FROM "{name}".totals ORDER BY ticker'
    while len(found := ask(query)) < 2:
        pass
    assert found == [{"TICKER": "AMZN", "N": 2, "TOTAL": 42}, {"TICKER": "TBV", "N": 1, "TOTAL": 3}]
    # A stream of the program, by its exact name, beside a stream of the log.
    assert ask(
        f'SELECT d."ticker", count(*) AS n FROM "{name}"."DEAR" AS d JOIN "{source}" AS s ON s.ticker = d."ticker" GROUP BY 1'
    ) == [{"ticker": "AMZN", "n": 4}]
    assert ask(f'SELECT count(*) AS faults FROM "{name}".error_stream') == [{"faults": 0}]
    wrong = headrace("sql", f'SELECT * FROM "{name}".total')
    assert (wrong.exit_code, "did you mean" in wrong.stderr) == (1, True)
    assert headrace("sql", 'SELECT * FROM "nobody".totals').exit_code == 1
    headrace("app", "stop", name)
    # It has stopped, and still has what it had at its last commit; reading that is in nobody's way.
    assert ask(query) == found
    assert ask(f'SELECT count(*) AS n FROM "{name}"."DEAR"') == [{"n": 2}]
    wrong = headrace("sql", f'SELECT * FROM "{name}".total')
    assert (wrong.exit_code, "did you mean" in wrong.stderr) == (1, True)
    assert headrace("app", "start", name).exit_code == 0
    assert ask(query) == found
    headrace("app", "stop", name)
    assert headrace("app", "delete", name, "--yes").exit_code == 0
