"""The harness: the page of results says what the kept JSON says, and the menu has every benchmark."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from benchmarks import menu, report
from benchmarks.__main__ import main
from benchmarks.connection import request
from benchmarks.harness import Ceiling, Figure, Outcome, Result, Verdict, number, times_fastest_peer, times_verdict
from benchmarks.machine import Machine

FIGURES = [
    Figure(case="500 × 1 KB", subject="headrace", metrics={"records/s": 200_000.0, "CPU s": 3.0}),
    Figure(case="500 × 1 KB", subject="fast peer", metrics={"records/s": 20_000.0, "CPU s": 60.0}),
    Figure(case="500 × 1 KB", subject="slow peer", metrics={"records/s": 500.0, "CPU s": 3000.0}),
]
MACHINE = Machine(
    cpu="a cpu",
    cores=2,
    memory_gb=8,
    kernel="6",
    python="3.11",
    libraries={"pyarrow": "26"},
    fdatasync_ms=0.2,
    disk_mb_s=1000,
    loopback_mb_s=4000,
)


def test_the_page_has_every_figure_verdict_ceiling_and_machine() -> None:
    outcome = Outcome(
        figures=FIGURES,
        ceilings=[Ceiling(case="500 × 1 KB", metric="records/s", value=400_000, reckoning="because")],
        verdicts=[
            Verdict(promise="fast", measured="10.0 ×", met=True),
            Verdict(promise="small", measured="2", met=False),
        ],
        skipped=["another peer was skipped: no node"],
    )
    page = report.render(
        [Result(benchmark="puts", title="Puts", measured_at="today", quick=False, machine=MACHINE, outcome=outcome)]
    )
    for text in (
        "| 500 × 1 KB | headrace | 200,000 | 3 |",
        "| fast | 10.0 × | met |",
        "| small | 2 | **missed** |",
        "400,000 records/s: because. Headrace reaches 50% of it.",
        "another peer was skipped: no node",
        "a cpu, 2 cores, 8 GB, Linux 6, Python 3.11, pyarrow 26",
    ):
        assert text in page


def test_the_best_peer_is_the_one_to_compare_with() -> None:
    assert times_fastest_peer(FIGURES, "500 × 1 KB", "records/s") == 10
    assert times_fastest_peer(FIGURES, "500 × 1 KB", "CPU s", lower_is_better=True) == 20
    assert times_fastest_peer(FIGURES[:1], "500 × 1 KB", "records/s") is None
    assert times_verdict("it", None, 8) == []
    assert [verdict.met for verdict in times_verdict("it", 7.9, 8) + times_verdict("it", 8.0, 8)] == [False, True]


@pytest.mark.parametrize(("value", "shown"), [(1_234_567.8, "1,234,568"), (12.345, "12.3"), (0.001234, "0.00123")])
def test_numbers_read_well(value: float, shown: str) -> None:
    assert number(value) == shown


def test_the_menu_lists_every_benchmark() -> None:
    shown = CliRunner().invoke(main, [])
    assert shown.exit_code == 0
    for name in menu.BENCHMARKS:
        assert name in shown.stdout


def test_an_unknown_benchmark_is_wrong_usage() -> None:
    shown = CliRunner().invoke(main, ["put_recods"])
    assert shown.exit_code == 2
    assert "put_records" in shown.stderr


def test_requests_are_whole_http() -> None:
    sent = request("127.0.0.1", 4567, "PutRecords", b"{}")
    head, _, body = sent.partition(b"\r\n\r\n")
    assert body == b"{}"
    assert b"x-amz-target: Kinesis_20131202.PutRecords" in head
    assert b"Content-Length: 2" in head
