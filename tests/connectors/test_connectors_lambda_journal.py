"""Functions through restarts and full disks: what was answered is there, what was refused has changed nothing."""

from __future__ import annotations

import asyncio
import io
import random
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from connectors.functions.api import Lambda
from connectors.functions.api.records import SNAPSHOT_EVENTS
from connectors.functions.registry import Functions
from streams.control.journal import Journal
from streams.core.clock import ManualClock
from streams.core.errors import LogFull, RequestError
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.log.memory import MemoryLog
from streams.wire.rest import rest_protocol

SCOPE = Scope()
ROLE = "arn:aws:iam::000000000000:role/any"
PATH = "/2015-03-31/functions"


class FailingJournal(Journal):
    """The disk is full whenever `full` says so."""

    full = False

    async def append(self, events: Sequence[bytes]) -> None:
        if self.full:
            raise LogFull("no space left")
        await super().append(events)

    async def snapshot(self, state: bytes) -> None:
        if self.full:
            raise LogFull("no space left")
        await super().snapshot(state)


class House:
    """A service of functions over a log and a folder that outlive it."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.log = MemoryLog(self.clock)
        self.settings = Settings(data=str(folder))
        self.code = folder / "functions" / "code"

    async def open(self) -> None:
        self.journal = FailingJournal(self.log, "control/functions")
        self.functions = Functions.of(self.settings)
        self.service = Lambda(self.journal, self.functions, settings=self.settings, clock=self.clock)
        await self.service.open()

    async def close(self) -> None:
        await self.service.close()
        await self.functions.close()

    async def call(self, method: str, path: str, body: Any = None, query: str = "") -> dict[str, Any]:
        found = rest_protocol("lambda").route(method, PATH + path)
        assert found is not None
        operation, labels = found
        request = operation.decode(labels, query, {}, b"" if body is None else msgspec.json.encode(body))
        return await self.service.call(operation.name, request, SCOPE)

    async def create(self, name: str, code: bytes) -> dict[str, Any]:
        members = {"FunctionName": name, "Role": ROLE, "Runtime": "python3.12", "Handler": "a.b"}
        return await self.call("POST", "", {**members, "Code": {"ZipFile": code}})

    async def listed(self) -> dict[str, dict[str, Any]]:
        return {one["FunctionName"]: one for one in (await self.call("GET", ""))["Functions"]}


def zipped(content: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.py"), content)
    return target.getvalue()


async def test_random_changes_and_restarts(tmp_path: Path, seed: int) -> None:
    randomness = random.Random(seed)
    home = House(tmp_path)
    await home.open()
    there: dict[str, dict[str, Any]] = {}
    for step in range(200):
        name = randomness.choice("abcd")
        code = zipped(randomness.choice("1234"))
        home.journal.full = randomness.random() < 0.2
        home.clock.advance(randomness.random())
        try:
            match randomness.randrange(5):
                case 0:
                    there[name] = await home.create(name, code)
                case 1:
                    there[name] = await home.call("PUT", f"/{name}/code", {"ZipFile": code})
                case 2:
                    there[name] = await home.call("PUT", f"/{name}/configuration", {"Timeout": 1 + step})
                case 3:
                    await home.call("DELETE", f"/{name}")
                    del there[name]
                case _:
                    await home.close()
                    await home.open()
        except (RequestError, LogFull):
            pass
        assert await home.listed() == there
    await home.close()
    await home.open()
    assert await home.listed() == there
    kept = {path.stem for path in home.code.iterdir() if path.suffix == ".zip"}
    assert len(kept) == len({one["CodeSha256"] for one in there.values()}), "code that nothing names is swept"
    await home.close()


async def test_a_journal_is_shortened(tmp_path: Path) -> None:
    home = House(tmp_path)
    await home.open()
    await home.create("a", zipped("1"))
    for n in range(SNAPSHOT_EVENTS + 10):
        home.journal.full = n == SNAPSHOT_EVENTS - 1
        try:
            await home.call("PUT", "/a/configuration", {"Timeout": 1 + n % 900})
        except LogFull:
            home.journal.full = False
    assert home.journal.events_since_snapshot < 20
    told = await home.listed()
    await home.close()
    await home.open()
    assert await home.listed() == told
    await home.close()


async def test_unpacked_code_that_is_gone_is_unpacked_again_and_an_archive_that_is_gone_is_told(tmp_path: Path) -> None:
    home = House(tmp_path)
    await home.open()
    await home.create("a", zipped("def b(event, context): return 1"))
    await home.close()
    (folder,) = [path for path in home.code.iterdir() if path.is_dir()]
    shutil.rmtree(folder)
    await home.open()
    arn = "arn:aws:lambda:us-east-1:000000000000:function:a"
    assert await home.functions.invoke(arn, b"{}") == b"1"
    await home.close()
    shutil.rmtree(folder)
    folder.with_suffix(".zip").unlink()
    await home.open()
    outcome = await home.functions.call(arn, b"{}")
    assert outcome.fault is not None
    assert "the archive of the code is gone" in outcome.fault.message
    await home.close()


async def test_two_at_once_make_one(tmp_path: Path) -> None:
    home = House(tmp_path)
    await home.open()
    made = await asyncio.gather(*(home.create("a", zipped("1")) for _ in range(5)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in made) == ["ResourceConflict"] * 4 + ["dict"]
    await home.close()
