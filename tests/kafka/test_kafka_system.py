"""Whole servers over Apache Kafka: killed under load, and the demo."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from streams.control.stream import PACKED_TAG
from tests.system.process import ServerProcess
from tests.system.test_system_kill import load_and_kill

KILLS = 2


@pytest.mark.parametrize("packed", ["", *(pytest.param(each, marks=pytest.mark.soak) for each in ("false", "true"))])
async def test_nothing_acknowledged_is_lost_or_doubled_or_delivered_twice_through_kills(
    tmp_path: Path, kafka_url: str, seed: int, packed: str
) -> None:
    packed = packed or random.Random(seed).choice(("false", "true"))
    with ServerProcess(tmp_path / "data", environment={"HEADRACE_LOG": kafka_url}) as server:
        await load_and_kill(server.start(), random.Random(seed), KILLS, {PACKED_TAG: packed})


@pytest.mark.soak
def test_the_demo_agrees(kafka_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one process; the demo over four is in test_kafka_takeover.py."""
    monkeypatch.setenv("HEADRACE_LOG", kafka_url)
    shown = CliRunner().invoke(main, ["demo", "--flights", "1500"])
    assert shown.exit_code == 0, shown.output
    assert "DIFFERS" not in shown.output
