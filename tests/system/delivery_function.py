"""The function of the delivery that is killed: it drops and fails what its record asks for, and scatters the rest over
partitions, differently at every call."""

import base64
import json
import random


def scatter(event, context):
    records = []
    usual = random.choice("abc")
    for record in event["records"]:
        kind = json.loads(base64.b64decode(record["data"]))["kind"]
        result = {"drop": "Dropped", "fail": "ProcessingFailed"}.get(kind, "Ok")
        keys = {"partitionKeys": {"key": random.choice([usual, usual, "d"])}}
        records.append({"recordId": record["recordId"], "result": result, "data": record["data"], "metadata": keys})
    return {"records": records}
