"""The pages that are made from the code are what the code says today, and leave out nothing."""

from __future__ import annotations

import pytest

from tools import reference


@pytest.mark.parametrize("name", sorted(reference.PAGES))
def test_a_made_page_is_todays(name: str) -> None:
    made = reference.PAGES[name]()
    assert (reference.DOCS / name).read_text() == made, "run python -m tools.reference --write"


def test_every_setting_has_a_meaning() -> None:
    for line in reference.settings_page().splitlines():
        if line.startswith("| `"):
            assert len(line.split("|")[3].strip()) > 10, line
