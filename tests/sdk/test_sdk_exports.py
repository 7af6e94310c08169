"""The public names are a list that someone chose."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import streams


def test_the_list_is_exact_and_sorted() -> None:
    constants = sorted(name for name in streams.__all__ if name.isupper())
    classes = sorted(name for name in streams.__all__ if name[0].isupper() and not name.isupper())
    functions = sorted(name for name in streams.__all__ if name[0].islower())
    assert streams.__all__ == constants + classes + functions
    assert sorted(streams._HOME) == sorted(streams.__all__)
    assert dir(streams) == sorted(streams.__all__)


def test_types_and_imports_tell_the_same() -> None:
    """What a type checker sees is what is imported at the first use."""
    seen = {
        alias.name: node.module
        for node in ast.walk(ast.parse(Path(streams.__file__).read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("streams.")
        for alias in node.names
    }
    assert seen == streams._HOME


@pytest.mark.parametrize("name", streams.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(streams, name) is not None


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Kinesis'"):
        streams.Kinesis  # noqa: B018
