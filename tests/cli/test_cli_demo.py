"""The demo on a few thousand flights, its function and its reconciliation."""

from __future__ import annotations

import base64
import datetime as dt
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner
from rich.console import Console

from gateway.cli import main
from gateway.demo import reconcile, show, transform

FLIGHTS = 4_000


def invoke(*flights: dict[str, Any]) -> list[dict[str, Any]]:
    records = [
        {"recordId": str(number), "data": base64.b64encode(json.dumps(flight).encode()).decode()}
        for number, flight in enumerate(flights)
    ]
    results: list[dict[str, Any]] = transform.handler({"records": records}, None)["records"]
    return results


def test_the_function_drops_what_did_not_leave_and_classifies_the_rest() -> None:
    dropped, kept = invoke(
        {"dep_time": None, "dep_delay": None, "month": 1}, {"dep_time": 5, "dep_delay": 15, "month": 11}
    )
    assert dropped["result"] == "Dropped"
    assert kept["result"] == "Ok"
    assert kept["recordId"] == "1"
    assert kept["metadata"] == {"partitionKeys": {"month": "11"}}
    assert json.loads(base64.b64decode(kept["data"]))["delay_class"] == "late"


@pytest.mark.parametrize(
    ("minutes", "kind"),
    [(-5, "on time"), (14, "on time"), (15, "late"), (59, "late"), (60, "very late"), (1301, "very late")],
)
def test_delay_classes(minutes: int, kind: str) -> None:
    assert transform.delay_class(minutes) == kind


def test_whatever_differs_is_in_the_table_of_differences() -> None:
    done = reconcile.Reconciliation()
    done.equal("same", 3, 3)
    assert done.agreed
    done.rows(
        "windows",
        {("9", "AA"): (1, 2.0), ("9", "UA"): (1, 2.0), ("9", "DL"): (1, None)},
        {("9", "AA"): (1, 2.0 + 1e-14), ("9", "UA"): (1, 2.1), ("10", "UA"): (4, 5.0)},
    )
    assert not done.agreed
    assert {(one.key, one.expected, one.found) for one in done.differences} == {
        ("9, DL", "1, None", "missing"),
        ("10, UA", "nothing", "4, 5.0"),
        ("9, UA", "1, 2.0", "1, 2.1"),
    }
    console = Console(record=True, width=120)
    show.reconciliation(console, done)
    shown = console.export_text()
    assert "DIFFERS" in shown
    assert "10, UA" in shown


def test_many_differences_are_counted() -> None:
    done = reconcile.Reconciliation()
    done.rows("windows", {(n,): (n,) for n in range(100)}, {})
    assert len(done.differences) == reconcile.SHOWN_MAX + 1
    assert done.differences[-1].key == "and 80 more"


def test_the_chart_has_a_bar_for_each_hour() -> None:
    console = Console(record=True, width=120)
    hour = dt.datetime(2013, 1, 1, 15)
    show.chart(console, {(hour, "AA"): ("American", 2, 2, 10.0), (hour, "UA"): ("United", 1, 0, None)})
    assert "10 h" in console.export_text()
    show.chart(console, {})


def test_the_demo_agrees_and_keeps_its_data(tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["demo", "--flights", str(FLIGHTS), "--keep", str(tmp_path / "kept")])
    assert shown.exit_code == 0, shown.output
    assert "DIFFERS" not in shown.output
    assert f"{FLIGHTS:,} flights in" in shown.output
    files = str(tmp_path / "kept" / "data" / "buckets" / "flights" / "flights" / "month=01" / "*.parquet")
    (row,) = duckdb.sql(f"SELECT count(*), count(delay_class) FROM read_parquet('{files}')").fetchall()
    assert FLIGHTS * 0.9 < row[0] == row[1] <= FLIGHTS


def test_a_demo_of_no_flights_is_wrong_usage() -> None:
    assert CliRunner().invoke(main, ["demo", "--flights", "0"]).exit_code == 2
