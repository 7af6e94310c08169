"""What AWS documents of delivery has a test each, or a reason why not."""

from __future__ import annotations

from tools import delivery


def test_every_row_is_covered() -> None:
    assert [f"{row.section}: {row.name}" for row in delivery.rows() if not row.covered] == []


def test_a_row_that_names_nothing_is_not_covered() -> None:
    for kind, detail in (
        ("open", ""),
        ("test", "that_does_not_exist"),
        ("case", "no such words in all_twelve_operations"),
    ):
        assert not delivery.Row("", "", kind, detail, later=False).covered
