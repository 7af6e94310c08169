"""A `SqlStatement` as a function for a process of its own: one that runs away, or eats memory, takes nothing else along."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from functools import lru_cache
from pathlib import Path
from typing import Any

from connectors.functions.function import Function
from connectors.functions.sql_statement import SqlStatement
from streams.core.pandas import without_pandas

_SQL, _COLUMNS = "HEADRACE_STATEMENT", "HEADRACE_COLUMNS"


def function(name: str, arn: str, sql: str, columns: str, *, timeout_s: float, memory_mb: int) -> Function:
    """What calls `handler`. Raises `StatementError`."""
    SqlStatement(sql, columns).close()
    return Function(
        name=name,
        arn=arn,
        root=Path(__file__).parent.parent.parent,
        handler="connectors.functions.sql_runner.handler",
        timeout_s=timeout_s,
        memory_mb=memory_mb,
        environment={_SQL: sql, _COLUMNS: columns},
    )


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Event and answer: see `statements`."""
    records = event["records"]
    made, failed = _statement().run([b64decode(record["data"]) for record in records])
    answers: list[dict[str, Any]] = []
    for index, record in enumerate(records):
        answer = {"recordId": record["recordId"]}
        if index in made:
            answer |= {"result": "Ok", "data": b64encode(made[index]).decode()}
        elif index in failed:
            answer |= {"result": "ProcessingFailed", "errorMessage": failed[index]}
        else:
            answer |= {"result": "Dropped"}
        answers.append(answer)
    return {"records": answers}


@lru_cache(maxsize=1)
def _statement() -> SqlStatement:
    without_pandas()
    return SqlStatement(os.environ[_SQL], os.environ[_COLUMNS])
