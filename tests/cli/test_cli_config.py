from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from streams.core.settings import Settings


def settings(*arguments: str) -> dict[str, dict[str, object]]:
    shown = CliRunner().invoke(main, ["config", "--json", *arguments])
    assert shown.exit_code == 0, shown.stderr
    found: dict[str, dict[str, object]] = json.loads(shown.stdout)
    return found


def test_every_setting_is_shown_with_its_default() -> None:
    shown = settings()
    assert set(shown) == set(Settings.__struct_fields__)
    assert shown["log_sync"] == {"value": "always", "source": "default"}


def test_the_most_specific_source_is_in_force_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text('port = 1\nlog_sync = "os"\nregion = "eu-west-1"\n')
    monkeypatch.setenv("HEADRACE_LOG_SYNC", "interval")
    monkeypatch.setenv("HEADRACE_PORT", "2")
    shown = settings("--config", str(file), "--port", "3")
    assert shown["port"] == {"value": 3, "source": "option"}
    assert shown["log_sync"] == {"value": "interval", "source": "environment (HEADRACE_LOG_SYNC)"}
    assert shown["region"] == {"value": "eu-west-1", "source": f"file ({file})"}


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_CREDENTIALS", '{"AKID": "very secret"}')
    shown = CliRunner().invoke(main, ["config"])
    assert "AKID" in shown.stdout
    assert "very secret" not in shown.output


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("prot = 1\n", "unknown setting 'prot'"),
        ("port = 70000\n", "port"),
        ("port = \n", "is not TOML"),
        ('log_sync = "never"\n', "log_sync"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text(text)
    shown = CliRunner().invoke(main, ["config", "--config", str(file)])
    assert shown.exit_code == 1
    assert sentence in shown.stderr


def test_a_settings_file_that_does_not_exist(tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["config", "--config", str(tmp_path / "none.toml")])
    assert shown.exit_code == 1
    assert "does not exist" in shown.stderr
