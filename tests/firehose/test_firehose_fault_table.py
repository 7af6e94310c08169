"""The table of faults names tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TABLE = Path(__file__).parent / "faults.md"
NAMED = re.findall(r"`([a-z_/]+\.py)::(\*|\w+)`", TABLE.read_text())


@pytest.mark.parametrize(("file", "test"), NAMED, ids=[f"{file}::{test}" for file, test in NAMED])
def test_a_test_that_the_table_names_is_there(file: str, test: str) -> None:
    tree = ast.parse((TABLE.parent.parent / file).read_text())
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert test == "*" or test in tests


def test_every_fault_has_a_test() -> None:
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    assert all("::" in row for row in rows)
