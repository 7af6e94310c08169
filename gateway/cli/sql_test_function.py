"""The function before an input, for ``headrace sql test``: it sees what it would see of an application, and no more."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from analytics.processing import Invoke, Processor
from connectors.functions.registry import Functions
from streams.core.clock import SystemClock
from streams.core.scope import Scope

TIMEOUT_S = 60.0
"""How long a call may take: the default of the setting `function_timeout_s`."""


@contextlib.asynccontextmanager
async def processors(given: Mapping[str, str]) -> AsyncIterator[dict[str, Processor]]:
    """By stream, of functions as the setting `functions` names them. Raises `SettingsError`; one that fails is not called
    again."""
    scope = Scope()
    names = {f"f{number}": text for number, text in enumerate(given.values())}
    functions = Functions(names, timeout_s=TIMEOUT_S)
    try:
        yield {
            stream: Processor(
                _timed(functions.invoke),
                functions.configured[name].arn,
                application=scope.application_arn("test"),
                stream=scope.stream_arn(stream),
                direct=False,
                clock=SystemClock(),
                retries=0,
            )
            for stream, name in zip(given, names, strict=True)
        }
    finally:
        await functions.close()


def _timed(invoke: Invoke) -> Invoke:
    """The rowtime of a row is beside what the function sees, as the arrival of its record, and stays with the answer."""

    async def call(function: str, event: bytes) -> bytes:
        asked = json.loads(event)
        times: dict[str, str] = {}
        for record in asked["records"]:
            row = json.loads(base64.b64decode(record["data"]))
            time = times[record["recordId"]] = row.pop("ROWTIME")
            record["data"] = _encoded(row)
            at = dt.datetime.fromisoformat(time.replace("Z", "").replace("+00:00", "")).replace(tzinfo=dt.UTC)
            record["kinesisStreamRecordMetadata"]["approximateArrivalTimestamp"] = round(at.timestamp() * 1000)
        answer = json.loads(await invoke(function, json.dumps(asked).encode()))
        records = answer.get("records") if isinstance(answer, dict) else None
        for record in records if isinstance(records, list) else ():
            with contextlib.suppress(TypeError, ValueError, KeyError, AttributeError):  # the caller says what is wrong
                row = json.loads(base64.b64decode(record["data"]))
                if isinstance(row, dict):
                    record["data"] = _encoded({**row, "ROWTIME": times[record["recordId"]]})
        return json.dumps(answer).encode()

    return call


def _encoded(row: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(row).encode()).decode()
