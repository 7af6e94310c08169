"""The simulation of how work moves, which docs/scale.md shows."""

from __future__ import annotations

import random
from pathlib import Path

from click.testing import CliRunner

from streams.core.work import PARTS
from tools.simulate import Group, main

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "scale.md"


def test_the_page_shows_what_it_prints() -> None:
    shown = CliRunner().invoke(main, [])
    assert shown.exit_code == 0, shown.output
    page = PAGE.read_text()
    rows = [line for line in shown.output.splitlines() if line.startswith("|")]
    assert len(rows) == 28
    assert [row for row in rows if row not in page] == []


def test_parts_are_somebodys_once_and_evenly_whoever_comes_and_goes(seed: int) -> None:
    randomness = random.Random(seed)
    group = Group()
    group.join("p0")
    for turn in range(100):
        if len(group.members) > 1 and randomness.random() < 0.5:
            group.leave(randomness.choice(sorted(group.members)))
        else:
            group.join(f"p{turn + 1}")
        assert group.settle() <= 2, "who loses parts is asked once"
        held = [part for member in group.members.values() for part in member.held]
        assert sorted(held) == list(range(PARTS))
        assert max(group.counts) - min(group.counts) <= 1
