"""What begins with a dot at the SQL prompt: about the streams, the session and the prompt itself."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import cast

from analytics.errors import closest
from analytics.inputs import discover_columns
from analytics.loading import EXTRA
from connectors.formats.json_plan import sql_type
from connectors.formats.schema import Column
from gateway.cli import output
from gateway.cli.connection import find_stream
from gateway.cli.failure import Failure
from gateway.cli.running import run
from gateway.cli.sql_program import parameter
from gateway.cli.sql_rows import Format, check_file
from gateway.cli.sql_session import Session
from gateway.cli.texts import text_of

MODES = ("table", "json", "csv")


class Leave(Exception):
    """The prompt ends."""


class Commands:
    """`session` is what the commands change."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.timer = False
        self._known: dict[str, tuple[Callable[..., None], str, str]] = {
            ".streams": (self._streams, "", "the streams that there are"),
            ".schema": (self._schema, "STREAM", "columns of a stream, as its first records have them"),
            ".read": (self._read, "FILE", "run the SQL of a file"),
            ".mode": (self._mode, "table|json|csv", "how rows are written"),
            ".output": (
                self._output,
                "[FILE]",
                "results into a .parquet, .csv or .ndjson file; here again without FILE",
            ),
            ".param": (self._param, "[NAME [VALUE]]", "list, forget or set the value of $NAME"),
            ".timer": (self._timer, "on|off", "say how long each statement took"),
            ".help": (self._help, "", "this list"),
            ".quit": (self._quit, "", "leave, as Ctrl-D does"),
        }

    @property
    def names(self) -> list[str]:
        return list(self._known)

    def run(self, line: str) -> None:
        """Raises `Failure`, `Leave`."""
        try:
            name, *arguments = shlex.split(line)
        except ValueError as error:
            raise Failure(f"{line}: {error}") from error
        if name not in self._known:
            alike = closest(name, self.names)
            raise Failure(f"there is no command {name}", hint=f"did you mean {alike}?" if alike else ".help lists them")
        work, form, _ = self._known[name]
        least = sum(not word.startswith("[") for word in form.split())
        most = len(form.split())
        if not least <= len(arguments) <= most:
            raise Failure(f"it is {name} {form}".rstrip())
        work(*arguments)

    def _streams(self) -> None:
        target = self.session.target

        async def work() -> list[tuple[str, int, int]]:
            async with target.client() as client:
                found = [await client.describe_stream(name) for name in await client.list_streams()]
            return [(one.name, sum(shard.open for shard in one.shards), one.retention_hours) for one in found]

        output.table(["stream", "shards", "retention h"], run(target, work()) or [])

    def _schema(self, stream: str) -> None:
        rows = [(column.name, sql_type(column.type)) for column in self.columns(stream)]
        taken = {name.lower() for name, _ in rows}
        rows += [(name, kind) for name, kind in EXTRA.items() if name.lower() not in taken]
        output.table(["column", "type"], rows)

    def columns(self, stream: str) -> list[Column]:
        """Of a stream's records. Raises `Failure`."""
        target = self.session.target

        async def work() -> list[Column]:
            async with target.client() as client:
                await find_stream(client, stream)
                declared = self.session.options.columns.get(stream)
                return list(await discover_columns(client, stream) if declared is None else declared)

        return run(target, work()) or []

    def _read(self, file: str) -> None:
        self.session.execute(text_of(Path(file).expanduser()))

    def _mode(self, form: str) -> None:
        if form not in MODES:
            raise Failure(f"rows are written as {', '.join(MODES)}, not as {form}")
        self.session = dataclasses.replace(self.session, form=cast(Format, form))

    def _output(self, file: str | None = None) -> None:
        path = None if file is None else Path(file).expanduser()
        if path is not None:
            check_file(path)
        self.session = dataclasses.replace(self.session, file=path)

    def _param(self, name: str | None = None, value: str | None = None) -> None:
        known = dict(self.session.parameters)
        if name is None:
            output.table(["parameter", "value"], sorted((key, repr(one)) for key, one in known.items()))
            return
        if value is not None:
            known[name.removeprefix("$")] = parameter(value)
        elif known.pop(name.removeprefix("$"), self) is self:
            raise Failure(f"${name.removeprefix('$')} has no value")
        self.session = dataclasses.replace(self.session, parameters=known)

    def _timer(self, on: str) -> None:
        if on not in ("on", "off"):
            raise Failure("it is .timer on or .timer off")
        self.timer = on == "on"

    def _help(self) -> None:
        for name, (_, form, what) in self._known.items():
            output.talk(f"{f'{name} {form}':<24} {what}")
        output.talk("A statement ends with a semicolon. Ctrl-C stops what runs.")

    def _quit(self) -> None:
        raise Leave
