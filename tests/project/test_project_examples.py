"""What the documents show is run: the examples of every page, in order, against one server of their own."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from streams.wire.model import SHIPPED
from tests.system.process import ServerProcess

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = re.compile(
    r"<!-- example: (?P<name>[a-z0-9-]+) -->\n```(?P<language>python|console)\n(?P<code>.*?)```", re.DOTALL
)
FILE = re.compile(r"<!-- file: (?P<name>[a-z0-9_.-]+) -->\n```[a-z]*\n(?P<content>.*?)```", re.DOTALL)
SHOWN_URL = "http://127.0.0.1:4567"
SHOWN_DATA = "headrace-data/"
SETTINGS = "headrace.toml"
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One for all pages, with the settings that they show, beside the functions that they show."""
    folder = tmp_path_factory.mktemp("examples")
    for page in PAGES:
        _write_files(page, folder)
    options = ("--config", str(folder / SETTINGS)) if (folder / SETTINGS).exists() else ()
    with ServerProcess(folder / "data", *options, environment={"PYTHONPATH": str(folder)}) as server:
        yield server.start()
        assert server.stop() == 0


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(
    page: str, server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the pages say to do with an older boto3.
    monkeypatch.setenv("AWS_DATA_PATH", str(SHIPPED))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    names: dict[str, object] = {}
    _write_files(page, tmp_path)
    for example in EXAMPLE.finditer((ROOT / page).read_text()):
        code = example["code"].replace(SHOWN_URL, server.url).replace(SHOWN_DATA, f"{server.data}/")
        if example["language"] == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(code, f"{page}:{example['name']}", "exec"), names)
        else:
            _run_console(code, server, tmp_path)


def _write_files(page: str, folder: Path) -> None:
    """The files that a page shows: settings, functions, programs, tables."""
    for file in FILE.finditer((ROOT / page).read_text()):
        (folder / file["name"]).write_text(file["content"])


def _run_console(code: str, server: ServerProcess, folder: Path) -> None:
    """Each ``$ headrace …`` line is run; the lines under it, if any, are what it must print."""
    for block in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        command, _, expected = block.partition("\n")
        assert command.startswith("headrace "), f"only headrace commands are examples: {command}"
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m gateway.cli {command.removeprefix('headrace ')}"],
            capture_output=True,
            text=True,
            cwd=folder,
            env={
                "PATH": "/usr/bin:/bin",
                "HEADRACE_ENDPOINT": server.url,
                "PYTHONPATH": str(ROOT),
                "HOME": str(folder),
            },
            timeout=60,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        if expected.strip():
            assert done.stdout.strip() == expected.strip(), command
