"""Functions that are a statement: a SQL ``SELECT`` over the records of an event in DuckDB, a jq program for each of them, or
other functions one after the other. They speak the contract of Firehose's functions:

    event    {records: [{recordId, data: base64}], …}
    answer   {records: [{recordId, result: Ok | Dropped | ProcessingFailed, data: base64, errorMessage}]}

A record of which the statement makes nothing is Dropped; one that it fails on is ProcessingFailed, alone, and says why.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from connectors.functions.environment import Outcome
from connectors.functions.errors import FunctionError, FunctionRaised
from connectors.functions.jq_program import JqProgram

OK, DROPPED, FAILED = "Ok", "Dropped", "ProcessingFailed"


class Given(msgspec.Struct, gc=False):
    """A record of an event."""

    id: str = msgspec.field(name="recordId")
    data: bytes


class Answered(msgspec.Struct, gc=False, omit_defaults=True):
    """A record of an answer."""

    id: str = msgspec.field(name="recordId")
    result: str
    data: bytes | None = None
    metadata: dict[str, Any] | None = None
    error: str = msgspec.field(name="errorMessage", default="")


class _Event(msgspec.Struct):
    records: list[Given]


class _Answer(msgspec.Struct):
    records: list[Answered]


_event = msgspec.json.Decoder(_Event).decode
_answer = msgspec.json.Decoder(_Answer).decode
_encode = msgspec.json.Encoder().encode


class JqFunction:
    """One `JqProgram` for each record of an event. See `connectors.functions.registry.Callee`."""

    def __init__(self, name: str, program: JqProgram) -> None:
        self._name = name
        self._program = program

    async def call(self, event: bytes, *, request_id: str = "", client_context: str = "") -> Outcome:
        try:
            given = _event(event).records
        except msgspec.DecodeError as error:
            told = f"the event is not {{records: [{{recordId, data: base64}}]}}: {error}"
            return Outcome(b"", FunctionRaised.of(self._name, "InvalidEvent", told))
        made, failed = await self._program.run([one.data for one in given])
        return Outcome(_encode({"records": _answers(given, made, failed)}))

    async def retire(self) -> None:
        await self._program.close()

    async def close(self) -> None:
        await self._program.close()


class Steps:
    """Functions one after the other, in one call: each gets the records that the one before let pass. A call that fails
    fails as a whole, and is made again from the first one."""

    def __init__(self, name: str, steps: Sequence[str], call: Callable[[str, bytes], Awaitable[Outcome]]) -> None:
        self._name = name
        self._steps = tuple(steps)
        self._call = call

    async def call(self, event: bytes, *, request_id: str = "", client_context: str = "") -> Outcome:
        try:
            whole: dict[str, Any] = msgspec.json.decode(event, type=dict[str, Any])
            going: list[dict[str, Any]] = msgspec.convert(whole["records"], list[dict[str, Any]])
        except (msgspec.DecodeError, msgspec.ValidationError, KeyError) as error:
            told = f"the event has no records: {error}"
            return Outcome(b"", FunctionRaised.of(self._name, "InvalidEvent", told))
        done: list[Answered] = []
        keys: dict[str, dict[str, Any]] = {}
        logs = []
        for step in self._steps:
            if not going:
                break
            try:
                outcome = await self._call(step, _encode({**whole, "records": going}))
            except FunctionError as error:
                return Outcome(b"", FunctionRaised.of(self._name, type(error).__name__, error.message))
            logs.append(outcome.log)
            if outcome.fault is not None:
                return outcome
            try:
                answered = _answer(outcome.answer).records
            except msgspec.DecodeError as error:
                told = f"step {step} answered something else than records: {error}"
                return Outcome(b"", FunctionRaised.of(self._name, "InvalidAnswer", told), b"".join(logs))
            going = _passed(going, answered, done, keys)
        for one in going:
            given = keys.get(one["recordId"])
            metadata = None if given is None else {"partitionKeys": given}
            done.append(Answered(one["recordId"], OK, b64decode(one["data"]), metadata))
        return Outcome(_encode({"records": done}), None, b"".join(logs))

    async def retire(self) -> None: ...

    async def close(self) -> None: ...


def _passed(
    going: Sequence[Mapping[str, Any]],
    answered: Sequence[Answered],
    done: list[Answered],
    keys: dict[str, dict[str, Any]],
) -> list[dict[str, Any]]:
    """Those that go on, with what became of them; the others are `done`, or left out as the step left them out. Records
    that come twice are told twice, so that whoever called sees it."""
    found: dict[str, list[Answered]] = {}
    for one in answered:
        found.setdefault(one.id, []).append(one)
    passed = []
    for sent in going:
        told = found.get(sent["recordId"], [])
        if len(told) == 1 and told[0].result == OK and told[0].data is not None:
            given = (told[0].metadata or {}).get("partitionKeys")
            if given:
                keys.setdefault(told[0].id, {}).update(given)
            passed.append({**sent, "data": msgspec.to_builtins(told[0].data)})
        else:
            done += told
    return passed


def _answers(given: Sequence[Given], made: Mapping[int, bytes], failed: Mapping[int, str]) -> list[Answered]:
    """In the order of the event."""
    answers = []
    for index, one in enumerate(given):
        if index in made:
            answers.append(Answered(one.id, OK, made[index]))
        elif index in failed:
            answers.append(Answered(one.id, FAILED, error=failed[index]))
        else:
            answers.append(Answered(one.id, DROPPED))
    return answers
