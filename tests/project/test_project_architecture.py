"""The floor plan is what the page says: imports point down, nothing goes round, the drawing is today's."""

from __future__ import annotations

from tools import imports


def test_imports_only_point_down() -> None:
    assert imports.violations() == []


def test_no_import_goes_round() -> None:
    assert [" → ".join(cycle) for cycle in imports.cycles()] == []


def test_the_page_shows_todays_graph() -> None:
    assert imports.PAGE.read_text() == imports.page_with_drawing(), "run python -m tools.imports --write"
