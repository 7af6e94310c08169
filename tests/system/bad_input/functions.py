"""Functions that mean ill, beside those of tests/firehose/functions.py."""

import base64
import os
import sys


def _same(event):
    return {
        "records": [
            {"recordId": record["recordId"], "result": "Ok", "data": record["data"]} for record in event["records"]
        ]
    }


def noisy(event, context):
    """Eight megabytes that are no text, in one line, and as much on stderr."""
    for _ in range(128):
        os.write(1, b"\xff\0" * (32 << 10))
        os.write(2, b"\xfe\r" * (32 << 10))
    return _same(event)


def deep(event, context):
    answer = []
    for _ in range(900):
        answer = [answer]
    return {"records": answer}


def nan(event, context):
    return {"records": float("nan")}


def numbers(event, context):
    return {"records": [{"recordId": 1, "result": 2, "data": 3} for _ in event["records"]]}


def surrogate(event, context):
    return {"records": [{"recordId": "\ud800", "result": "Ok", "data": ""} for _ in event["records"]]}


def strangers(event, context):
    """Answers for records that nobody sent, and for those that were."""
    return {"records": [*_same(event)["records"], {"recordId": "7", "result": "Ok", "data": "AAAA"}]}


def long_winded(event, context):
    raise ValueError("x" * (4 << 20))


def closing(event, context):
    """Closes whatever it has open, its way home as well, which it finds again."""
    os.closerange(0, 1 << 16)
    return _same(event)


def interrupted(event, context):
    raise KeyboardInterrupt


def binary(event, context):
    for record in event["records"]:
        sys.stdout.buffer.write(base64.b64decode(record["data"]))
    return _same(event)


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("no words")


def unspeakable(event, context):
    raise Unspeakable
