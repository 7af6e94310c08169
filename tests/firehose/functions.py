"""Functions that the tests run in processes of their own: good ones, and one for every way to go wrong."""

import base64
import json
import os
import random
import sys
import time
from pathlib import Path


def _answer(record, result="Ok", data=None, **metadata):
    answer = {"recordId": record["recordId"], "result": result, "data": data or record["data"]}
    if metadata:
        answer["metadata"] = {"partitionKeys": metadata}
    return answer


def upper(event, context):
    records = []
    for record in event["records"]:
        data = base64.b64decode(record["data"]).upper()
        records.append(_answer(record, data=base64.b64encode(data).decode()))
    return {"records": records}


def keep(event, context):
    return {"records": [_answer(record) for record in event["records"]]}


def sort_out(event, context):
    """Drops, fails and keeps by the record's first letter; keeps under the partition key of its second."""
    records = []
    for record in event["records"]:
        data = base64.b64decode(record["data"]).decode()
        result = {"d": "Dropped", "f": "ProcessingFailed"}.get(data[:1], "Ok")
        records.append(_answer(record, result, kind=data[1:2]))
    return {"records": records}


def by_month(event, context):
    records = []
    for record in event["records"]:
        flight = json.loads(base64.b64decode(record["data"]))
        records.append(_answer(record, "Ok" if flight["dep"] is not None else "Dropped", month=str(flight["month"])))
    return {"records": records}


def echo_event(event, context):
    print("seen", len(event["records"]))
    data = base64.b64encode(json.dumps(event).encode()).decode()
    return {"records": [_answer(event["records"][0], data=data), *map(_answer, event["records"][1:])]}


def raising(event, context):
    raise ValueError("no such plane")


def raising_once(event, context):
    """Raises at the first call, works at the second: the file says which it is."""
    seen = Path(os.environ["HEADRACE_TEST_MARK"])
    if not seen.exists():
        seen.write_text("x")
        raise ValueError("not yet")
    return {"records": [_answer(record) for record in event["records"]]}


def hanging(event, context):
    time.sleep(600)


def leaving(event, context):
    sys.exit(3)


def dying(event, context):
    os.kill(os.getpid(), 9)


def eating(event, context):
    bytearray(64 << 30)


def nothing(event, context):
    return None


def text(event, context):
    return "Ok"


def not_json(event, context):
    return {"records": [{"recordId": record["recordId"], "result": "Ok", "data": {1}} for record in event["records"]]}


def unknown_result(event, context):
    return {"records": [_answer(record, "Fine") for record in event["records"]]}


def long_result(event, context):
    return {"records": [_answer(record, "x" * (1 << 20)) for record in event["records"]]}


def without_result(event, context):
    return {"records": [{"recordId": record["recordId"], "data": record["data"]} for record in event["records"]]}


def bad_base64(event, context):
    return {"records": [_answer(record, data="%%%") for record in event["records"]]}


def without_data(event, context):
    return {"records": [{"recordId": record["recordId"], "result": "Ok"} for record in event["records"]]}


def first_missing(event, context):
    return {"records": [_answer(record) for record in event["records"][1:]]}


def first_twice(event, context):
    return {"records": [_answer(record) for record in [event["records"][0], *event["records"]]]}


def too_large(event, context):
    return {"records": [_answer(record, data="A" * (7 << 20)) for record in event["records"]]}


not_a_function = 7


def capricious(event, context):
    """Decides anew at every call: drop (and say so in a file), fail, or keep under one of three keys."""
    records = []
    usual = random.choice("abc")
    for record in event["records"]:
        result = random.choice(["Ok", "Ok", "Ok", "Dropped", "ProcessingFailed"])
        if result == "Dropped":
            with open(os.environ["HEADRACE_TEST_MARK"], "ab") as file:
                file.write(base64.b64decode(record["data"]) + b"\n")
        records.append(_answer(record, result, key=random.choice([usual] * 20 + ["d"])))
    return {"records": records}


def topic_event(event, context):
    """What an event of a topic says, as the value of each record."""
    records = []
    for record in event["records"]:
        told = {
            "cluster": event["sourceMSKArn"],
            "value": record["kafkaRecordValue"],
            "metadata": record["mskRecordMetadata"],
            "data": record.get("data"),
        }
        value = base64.b64encode(json.dumps(told).encode()).decode()
        records.append({"recordId": record["recordId"], "result": "Ok", "kafkaRecordValue": value})
    return {"records": records}
