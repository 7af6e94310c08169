"""The log of the process as a machine reads it."""

from __future__ import annotations

import json
import logging
import sys

from gateway.logs import JsonFormatter


def test_a_line_is_an_object_whatever_the_message() -> None:
    record = logging.LogRecord("headrace.gateway", logging.WARNING, "", 0, 'said "%s"\nand more', ("é",), None)
    record.created = 1_700_000_000.25
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250+00:00",
        "level": "warning",
        "logger": "headrace.gateway",
        "message": 'said "é"\nand more',
    }


def test_an_error_brings_its_stack_trace() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    told = json.loads(JsonFormatter().format(record))
    assert told["error"].startswith("Traceback")
    assert told["error"].endswith("ValueError: no")


def test_a_request_id_is_a_field() -> None:
    record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), None)
    record.request_id = "abc"
    assert json.loads(JsonFormatter().format(record))["request_id"] == "abc"
