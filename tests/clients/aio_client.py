"""async-kinesis and aiokpl, in an environment of their own: puts with each, reads with the first. Prints JSON.

`python aio_client.py ENDPOINT`
"""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64decode, b64encode

import aiokpl
import botocore.session
import kinesis
from aws_kinesis_agg.deaggregator import deaggregate_records
from kinesis.processors import StringProcessor

RECORDS = [f"r{number}" for number in range(50)]


async def with_async_kinesis(endpoint: str) -> list[str]:
    found: list[str] = []
    options = {"endpoint_url": endpoint, "region_name": "us-east-1", "processor": StringProcessor()}
    async with kinesis.Producer(stream_name="a", create_stream=True, create_stream_shards=2, **options) as producer:
        for record in RECORDS:
            await producer.put(record)
        await producer.flush()
    async with kinesis.Consumer(stream_name="a", sleep_time_no_records=0.2, idle_timeout=20, **options) as consumer:
        async for record in consumer:
            found.append(record)
            if len(found) == len(RECORDS):
                break
    return found


async def with_aiokpl(endpoint: str) -> tuple[list[str], list[str]]:
    """The shards that it was told, and what was read back, de-aggregated by AWS's own library."""
    client = botocore.session.get_session().create_client("kinesis", endpoint_url=endpoint, region_name="us-east-1")
    client.create_stream(StreamName="b", ShardCount=2)
    config = aiokpl.Config(region="us-east-1", endpoint_url=endpoint)
    async with aiokpl.Producer(config) as producer:
        waiting = [
            await producer.put_record(stream="b", partition_key=record, data=record.encode()) for record in RECORDS
        ]
        outcomes = [await one.wait() for one in waiting]
    shards = sorted({outcome.shard_id for outcome in outcomes})
    found = []
    for shard in client.list_shards(StreamName="b")["Shards"]:
        at = {"StreamName": "b", "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        records = client.get_records(ShardIterator=client.get_shard_iterator(**at)["ShardIterator"])["Records"]
        # AWS's library takes records as a Lambda function gets them.
        told = [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "data": b64encode(one["Data"]).decode(),
                    "partitionKey": one["PartitionKey"],
                    "sequenceNumber": one["SequenceNumber"],
                    "approximateArrivalTimestamp": one["ApproximateArrivalTimestamp"].timestamp(),
                },
                **dict.fromkeys(("eventSource", "eventVersion", "eventID", "eventName", "invokeIdentityArn"), ""),
                **dict.fromkeys(("awsRegion", "eventSourceARN"), ""),
            }
            for one in records
        ]
        found += [b64decode(one["kinesis"]["data"]).decode() for one in deaggregate_records(told)]
    return shards, found


async def main(endpoint: str) -> None:
    plain = await with_async_kinesis(endpoint)
    shards, aggregated = await with_aiokpl(endpoint)
    sys.stdout.write(json.dumps({"async-kinesis": sorted(plain), "aiokpl": sorted(aggregated), "shards": shards}))


asyncio.run(main(sys.argv[1]))
