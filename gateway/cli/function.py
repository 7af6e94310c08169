"""``headrace function``: functions, through Lambda's API as any AWS tool speaks it."""

from __future__ import annotations

import base64
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import click

from gateway.cli import aws_call, output
from gateway.cli.connection import Target, connected
from gateway.cli.failure import Failure
from streams.core.scope import Scope

_PAGE = 50
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"


@click.group()
def function() -> None:
    """Make, list, call and delete functions."""


@function.command()
@click.argument("name")
@click.argument("code", type=click.Path(exists=True, path_type=Path))
@click.option("--handler", metavar="MODULE.FUNCTION", help="What is called; for a file FILE.py it is FILE.handler.")
@click.option("--runtime", default=RUNTIME, show_default=True, help="provided for an executable named bootstrap.")
@click.option(
    "--timeout-s", type=click.IntRange(1, 900), default=60, show_default=True, help="How long a call may take."
)
@click.option("--memory-mb", type=click.IntRange(128, 10240), default=1024, show_default=True, help="Memory of a call.")
@click.option("--env", "variables", multiple=True, metavar="NAME=VALUE", help="An environment variable that it sees.")
@connected
def create(
    target: Target,
    name: str,
    code: Path,
    handler: str | None,
    runtime: str,
    timeout_s: int,
    memory_mb: int,
    variables: tuple[str, ...],
) -> None:
    """Make the function NAME of CODE: a Python file, a folder or a zip archive. A function of that name gets this code
    and these limits instead of its own."""
    if handler is None:
        if code.suffix != ".py":
            raise click.UsageError("--handler is needed: only for a file FILE.py it is known, FILE.handler")
        handler = f"{code.stem}.handler"
    limits = {
        "Handler": handler,
        "Runtime": runtime,
        "Timeout": timeout_s,
        "MemorySize": memory_mb,
        "Environment": {"Variables": dict(map(_variable, variables))},
    }
    archive = _archive(code)
    if name in _names(target):
        _call(target, "update_function_code", FunctionName=name, ZipFile=archive)
        made = _call(target, "update_function_configuration", FunctionName=name, **limits)
        words = "has new code"
    else:
        role = f"arn:aws:iam::{Scope().account}:role/headrace"
        made = _call(target, "create_function", FunctionName=name, Role=role, Code={"ZipFile": archive}, **limits)
        words = "is there"
    if target.json:
        output.json_line({"arn": made["FunctionArn"]})
    else:
        output.talk(f"function {name} {words}")


@function.command("list")
@connected
def list_(target: Target) -> None:
    """List the functions, those of the settings too."""
    found = _functions(target)
    if target.json:
        output.json_line([one["FunctionName"] for one in found])
    elif found:
        rows = [
            (one["FunctionName"], one["Handler"], one["Runtime"], one["Timeout"], one["MemorySize"]) for one in found
        ]
        output.table(["function", "handler", "runtime", "seconds", "MB"], rows)
    else:
        output.talk("no functions yet; headrace function create NAME FILE.py makes one")


@function.command()
@click.argument("name")
@click.argument("event", default="{}")
@connected
def call(target: Target, name: str, event: str) -> None:
    """Call the function NAME with EVENT (JSON; - reads it from stdin) and print what it answers. What it wrote goes to
    stderr."""
    payload = sys.stdin.read() if event == "-" else event
    reply = _call(target, "invoke", FunctionName=name, Payload=payload.encode(), LogType="Tail")
    log = base64.b64decode(reply.get("LogResult", "")).decode(errors="replace")
    output.talk(log.rstrip("\n"))
    answer = reply["Payload"].read().decode()
    if "FunctionError" in reply:
        raise Failure(f"function {name} failed: {answer}")
    click.echo(answer)


@function.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@connected
def delete(target: Target, name: str, yes: bool) -> None:
    """Delete the function NAME. Delivery streams that call it send their records to the error output from then on."""
    _call(target, "get_function_configuration", FunctionName=name)
    if not yes:
        click.confirm(f"Delete the function {name}?", abort=True, err=True)
    _call(target, "delete_function", FunctionName=name)
    output.talk(f"function {name} is gone")


def _call(target: Target, operation: str, **members: Any) -> Any:
    return aws_call.call(target, "lambda", operation, members, "FunctionName", lambda: _names(target))


def _functions(target: Target) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while True:
        page = _call(target, "list_functions", MaxItems=_PAGE, **more)
        found += page["Functions"]
        if "NextMarker" not in page:
            return found
        more = {"Marker": page["NextMarker"]}


def _names(target: Target) -> list[str]:
    return [one["FunctionName"] for one in _functions(target)]


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--env")
    return name, value


def _archive(code: Path) -> bytes:
    """The bytes of a zip archive as they are, a file or the files of a folder put into one. Raises `Failure`."""
    if code.is_file() and zipfile.is_zipfile(code):
        return code.read_bytes()
    files = [code] if code.is_file() else sorted(path for path in code.rglob("*") if path.is_file())
    if not files:
        raise Failure(f"{code} is an empty folder")
    root = code.parent if code.is_file() else code
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            if "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(root))
    return target.getvalue()
