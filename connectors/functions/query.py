"""jq over JSON texts, as a function for a process of its own: a jq program that runs away holds the interpreter it runs in
and cannot be interrupted, but a process can be killed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import jq

from connectors.functions.function import Function

NO_VALUE = "no value"
"""The error of a program that gives nothing."""


def function(timeout_s: float) -> Function:
    """What calls `run`."""
    root = Path(__file__).parent.parent.parent
    handler = "connectors.functions.query.run"
    return Function(name="MetadataExtraction", root=root, handler=handler, timeout_s=timeout_s, memory_mb=4096)


def run(event: dict[str, Any], context: object) -> list[Any]:
    """Event: {query, records: [text, …]}. One answer a record: the first value that the program gives, or the text of
    its error as {"error": text}, each in a list of one: [[value], {"error": …}, …]."""
    program = _compiled(event["query"])
    return [_first(program, text) for text in event["records"]]


def _first(program: Any, text: str) -> list[Any] | dict[str, str]:
    try:
        return [program.input_text(text).first()]
    except StopIteration:
        return {"error": NO_VALUE}
    except ValueError as error:
        return {"error": str(error)}


@lru_cache(maxsize=16)
def _compiled(query: str) -> Any:
    return jq.compile(query)
