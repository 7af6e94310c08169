"""What `deploy/` says, the command line and the settings know."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from streams.core.settings import ENVIRONMENT_PREFIX, Settings, load

FOLDER = Path(__file__).resolve().parent.parent.parent / "deploy"


def test_the_settings_file_is_valid_and_lets_nobody_in_without_a_signature() -> None:
    settings = load(FOLDER / "headrace.toml", environment={})
    assert settings.credentials
    assert settings.tls == "auto"
    shown = CliRunner().invoke(main, ["config", "--config", str(FOLDER / "headrace.toml")])
    assert shown.exit_code == 0
    assert "replace this secret" not in shown.output


def test_the_unit_runs_a_command_that_there_is(tmp_path: Path) -> None:
    text = (FOLDER / "headrace.service").read_text()
    command = re.search(r"^ExecStart=\S+/headrace (.*)$", text, re.MULTILINE)
    assert command is not None
    assert command[1] == "serve --config /etc/headrace.toml"
    options = CliRunner().invoke(main, ["serve", "--help"]).output
    assert "--config" in options
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "headrace.service"
    unit.write_text(text.replace("/opt/headrace/bin/headrace", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert "headrace.service" not in done.stderr, done.stderr


def test_the_container_names_settings_that_there_are() -> None:
    names = re.findall(rf"{ENVIRONMENT_PREFIX}([A-Z_]+)=", (FOLDER / "Containerfile").read_text())
    assert names
    assert {name.lower() for name in names} <= set(Settings.__struct_fields__)
