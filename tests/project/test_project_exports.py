"""The public names are lists that someone chose, and cost who does not use them nothing."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import analytics
import streams

ROOMS = [streams, analytics]
NAMES = [(room, name) for room in ROOMS for name in room.__all__]
HEAVY = {"aiohttp", "aiokafka", "analytics.application", "boto3", "pandas", "polars", "sqlglot"}
"""What a server that stands alone and has nothing to do starts without."""


@pytest.mark.parametrize("room", ROOMS, ids=[room.__name__ for room in ROOMS])
def test_the_list_is_exact_and_sorted(room: ModuleType) -> None:
    constants = sorted(name for name in room.__all__ if name.isupper())
    classes = sorted(name for name in room.__all__ if name[0].isupper() and not name.isupper())
    functions = sorted(name for name in room.__all__ if name[0].islower())
    assert room.__all__ == constants + classes + functions
    assert sorted(room._HOME) == sorted(room.__all__)
    assert dir(room) == sorted(room.__all__)


@pytest.mark.parametrize("room", ROOMS, ids=[room.__name__ for room in ROOMS])
def test_types_and_imports_tell_the_same(room: ModuleType) -> None:
    """What a type checker sees is what is imported at the first use."""
    seen = {
        alias.name: node.module
        for node in ast.walk(ast.parse(Path(str(room.__file__)).read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{room.__name__}.")
        for alias in node.names
    }
    assert seen == room._HOME


@pytest.mark.parametrize("room", ROOMS, ids=[room.__name__ for room in ROOMS])
def test_no_module_has_a_public_name(room: ModuleType) -> None:
    """Whoever imported it would put the module in the place of what the name means."""
    assert not {each.name for each in pkgutil.iter_modules(room.__path__)} & set(room.__all__)


@pytest.mark.parametrize(("room", "name"), NAMES, ids=[f"{room.__name__}.{name}" for room, name in NAMES])
def test_every_name_is_there(room: ModuleType, name: str) -> None:
    value = getattr(room, name)
    assert value is getattr(importlib.import_module(room._HOME[name]), name)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Kinesis'"):
        streams.Kinesis  # noqa: B018


def test_a_server_starts_without_what_it_may_not_need() -> None:
    program = "import sys, gateway.app, gateway.cli.serve; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY & set(loaded) == set()
