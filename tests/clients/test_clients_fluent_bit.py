"""What Fluent Bit's output `kinesis_streams` sends, and the text that it looks for in the answer.

Not Fluent Bit itself: no package registry that the tests install from has it. After its source: HTTP/1.1 over
TLS on a connection that is kept, signed, the whole record as JSON in `Data`; a batch is taken when the answer holds
``"FailedRecordCount":0`` to the letter, and put again otherwise.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gateway.testing import TestServer

TAKEN = b'"FailedRecordCount":0'


@pytest.mark.headrace(tls="auto", credentials={"test": "test"})
def test_batches_are_taken(headrace: TestServer) -> None:
    authority = str(Path(headrace.settings.data) / "tls" / "ca.pem")
    kinesis = headrace.client(verify=authority)
    kinesis.create_stream(StreamName="logs", ShardCount=2)
    host = headrace.url.removeprefix("https://")
    connection = http.client.HTTPSConnection(host, context=ssl.create_default_context(cafile=authority))
    sent = []
    for batch in range(3):
        lines = [json.dumps({"log": f"line {batch}.{number}"}) for number in range(50)]
        sent += lines
        records = [
            {"Data": base64.b64encode(line.encode()).decode(), "PartitionKey": f"{batch}-{number:08d}"}
            for number, line in enumerate(lines)
        ]
        body = json.dumps({"StreamName": "logs", "Records": records}, separators=(",", ":"))
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Kinesis_20131202.PutRecords"}
        request = AWSRequest("POST", headrace.url + "/", headers | {"User-Agent": "aws-fluent-bit-plugin"}, body)
        SigV4Auth(Credentials("test", "test"), "kinesis", "us-east-1").add_auth(request)
        connection.request("POST", "/", body, dict(request.headers))
        answer = connection.getresponse()
        assert answer.status == 200
        assert TAKEN in answer.read()
    connection.close()

    got = []
    for shard in kinesis.list_shards(StreamName="logs")["Shards"]:
        at = {"StreamName": "logs", "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = kinesis.get_shard_iterator(**at)["ShardIterator"]
        got += [record["Data"].decode() for record in kinesis.get_records(ShardIterator=iterator)["Records"]]
    assert sorted(got) == sorted(sent)
