"""The delivery stream's function, by Firehose's contract: it drops flights that never left and adds a delay class."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

LATE_MIN, VERY_LATE_MIN = 15, 60
"""From 15 minutes on the authorities call a flight late."""


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """One result for each record: Dropped, or Ok with its data, a line, and its month as a partition key."""
    return {"records": [_result(record) for record in event["records"]]}


def _result(record: dict[str, Any]) -> dict[str, Any]:
    flight = msgspec.json.decode(base64.b64decode(record["data"]))
    if flight["dep_time"] is None:
        return {"recordId": record["recordId"], "result": "Dropped", "data": record["data"]}
    flight["delay_class"] = delay_class(flight["dep_delay"])
    return {
        "recordId": record["recordId"],
        "result": "Ok",
        "data": base64.b64encode(msgspec.json.encode(flight) + b"\n").decode(),
        "metadata": {"partitionKeys": {"month": f"{flight['month']:02d}"}},
    }


def delay_class(minutes: int) -> str:
    """``on time``, ``late`` or ``very late``."""
    if minutes < LATE_MIN:
        return "on time"
    return "late" if minutes < VERY_LATE_MIN else "very late"
