"""Functions of the applications in the tests: one before an input, one behind an output."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any


def clean(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Capitals; a line of ``drop`` is dropped, one of ``fail`` fails."""
    answers = []
    for record in event["records"]:
        assert record["kinesisStreamRecordMetadata"]["shardId"].startswith("shardId-")
        data = base64.b64decode(record["data"])
        result = {b"drop": "Dropped", b"fail": "ProcessingFailed"}.get(data, "Ok")
        answer = base64.b64encode(data.upper()).decode()
        answers.append({"recordId": record["recordId"], "result": result, "data": answer})
    return {"records": answers}


def keep(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Takes each row at the second time, and writes it to the file that the environment names."""
    answers = []
    with Path(os.environ["APPLICATIONS_KEPT"]).open("ab") as file:
        for record in event["records"]:
            delivered = record["lambdaDeliveryRecordMetadata"]["retryHint"] > 0
            if delivered:
                file.write(base64.b64decode(record["data"]) + b"\n")
            result = "Ok" if delivered else "DeliveryFailed"
            answers.append({"recordId": record["recordId"], "result": result})
    return {"records": answers}
