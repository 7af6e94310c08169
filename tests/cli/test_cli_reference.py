"""Every command has help, stands in docs/cli.md, and fails helpfully."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from gateway.cli import main, reference

COMMANDS = reference.commands()


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_every_command_has_help_for_itself_and_each_option(path: tuple[str, ...], command: click.Command) -> None:
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{' '.join(path)} {parameter.opts[0]} has no help"
    shown = CliRunner().invoke(main, [*path[1:], "--help"], prog_name="headrace")
    assert shown.exit_code == 0
    assert shown.stdout.startswith("Usage: headrace")


def test_the_reference_is_what_the_commands_say_today() -> None:
    assert reference.TARGET.read_text() == reference.render(), "run python -m gateway.cli.reference"


def test_the_reference_has_every_command() -> None:
    page = reference.TARGET.read_text()
    for path, _ in COMMANDS:
        assert f"{'#' * (len(path) + 1)} {' '.join(path)}\n" in page


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_each_shell(shell: str) -> None:
    shown = CliRunner().invoke(main, ["completion", shell])
    assert shown.exit_code == 0
    assert "_HEADRACE_COMPLETE" in shown.stdout


def test_completion_knows_the_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli"],
        env={"_HEADRACE_COMPLETE": "bash_complete", "COMP_WORDS": "headrace st", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["plain,stream"]


def test_an_unknown_command_is_wrong_usage() -> None:
    shown = CliRunner().invoke(main, ["sturm"])
    assert shown.exit_code == 2
    assert "No such command 'sturm'" in shown.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["stream", "list"],
        ["stream", "create", "a"],
        ["stream", "describe", "a"],
        ["stream", "delete", "a", "--yes"],
        ["tail", "a"],
        ["put", "a"],
        ["firehose", "list"],
        ["bench"],
    ],
    ids=" ".join,
)
def test_without_a_server_the_command_says_how_to_start_one(arguments: list[str], free_port: int) -> None:
    shown = CliRunner().invoke(main, [*arguments, "--endpoint", f"http://127.0.0.1:{free_port}"], input="x\n")
    assert shown.exit_code == 1
    assert f"no server answers at http://127.0.0.1:{free_port}" in shown.stderr
    assert f"headrace serve --port {free_port}" in shown.stderr
    assert shown.stdout == ""


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4567", "ftp://example.org", "http://"])
def test_an_endpoint_is_a_url(endpoint: str) -> None:
    shown = CliRunner().invoke(main, ["stream", "list", "--endpoint", endpoint])
    assert shown.exit_code == 2
    assert "is not a URL like http://127.0.0.1:4567" in shown.stderr
