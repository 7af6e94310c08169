"""The settings that docs/functions.md shows are settings, and name functions that can be called."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from connectors.functions.registry import Functions
from streams.core.settings import load

PAGE = Path(__file__).parent.parent.parent / "docs" / "functions.md"


async def test_the_settings_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = re.search(r"<!-- file: functions.toml -->\n```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert shown is not None
    file = tmp_path / "headrace.toml"
    file.write_text(shown[1])
    assert set(tomllib.loads(shown[1])["functions"]) == {"clean", "enrich", "score", "months", "far", "plain", "all"}
    (tmp_path / "functions" / "clean").mkdir(parents=True)
    (tmp_path / "functions" / "clean" / "clean.py").write_text(
        "import os\ndef handler(event, context): return [os.environ['LEVEL'], context.memory_limit_in_mb]"
    )
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "months.py").write_text("def handler(event, context): return event")
    monkeypatch.chdir(tmp_path)
    functions = Functions.of(load(file, environment={}, options={"data": str(tmp_path / "data")}))
    assert json.loads(await functions.invoke("clean", b"1")) == ["strict", "512"]
    assert await functions.invoke("months", b"2") == b"2"
    for name in ("enrich", "score"):
        assert name in functions
    await functions.close()
