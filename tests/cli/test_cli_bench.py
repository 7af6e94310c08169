from __future__ import annotations

import json

from tests.cli.cli_server import Headrace


def test_bench_measures_and_leaves_nothing_behind(headrace: Headrace) -> None:
    before = headrace("stream", "list", "--json").stdout
    shown = headrace("bench", "--seconds", "0.2", "--json")
    assert shown.exit_code == 0, shown.output
    figures = json.loads(shown.stdout)
    assert {(figure["measure"], figure["unit"]) for figure in figures} == {
        ("put", "records/s"),
        ("put", "MB/s"),
        ("read", "records/s"),
        ("read", "MB/s"),
        ("put to seen, p50", "ms"),
        ("put to seen, p99", "ms"),
    }
    assert all(figure["value"] > 0 for figure in figures)
    assert headrace("stream", "list", "--json").stdout == before


def test_bench_for_people(headrace: Headrace) -> None:
    shown = headrace("bench", "--seconds", "0.1", "--size", "100")
    assert "put to seen, p99" in shown.stdout
    assert "records of 100 bytes" in shown.stdout


def test_bench_of_nothing_is_wrong_usage(headrace: Headrace) -> None:
    assert headrace("bench", "--seconds", "0").exit_code == 2
