"""What delivery streams did, on ``/metrics``."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from gateway.testing import TestServer
from tests.firehose.harness import NEWLINES, House, function, processing, s3
from tests.firehose.test_firehose_backup import backed_up
from tests.firehose.test_firehose_http import Receiver, create, receiver, refused

__all__ = ["receiver"]


def scrape(server: TestServer) -> dict[tuple[str, str], float]:
    """Values of the delivery stream `a` by name and by lane, or by type where there is one."""
    with urllib.request.urlopen(server.url + "/metrics") as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = (sample for family in families for sample in family.samples)
    return {
        (one.name.removeprefix("headrace_"), one.labels.get("type", one.labels["lane"])): one.value
        for one in samples
        if one.labels.get("delivery_stream") == "a"
    }


def test_a_scrape_tells_what_was_delivered_and_what_waits(tmp_path: Path) -> None:
    functions = {"sort_out": "tests.firehose.functions:sort_out"}
    with TestServer(functions=functions) as server:
        firehose = server.client("firehose")
        extended = {**s3(), **backed_up(), **processing(function("sort_out"), NEWLINES)}
        firehose.create_delivery_stream(DeliveryStreamName="a", ExtendedS3DestinationConfiguration=extended)
        firehose.put_record_batch(DeliveryStreamName="a", Records=[{"Data": data} for data in (b"k1", b"d2", b"f3")])
        while scrape(server)["delivering_partitions", "main"] < 3:
            time.sleep(0.01)  # reading goes on in the server, which tells nobody
        server.advance(7)
        waiting = scrape(server)
        assert waiting["delivering_age_seconds", "main"] >= 7
        assert waiting["delivering_buffered", "backup"] > 0
        while scrape(server)["delivered_records_total", "backup"] < 3:
            server.advance(60)
            time.sleep(0.01)
        while scrape(server)["delivered_records_total", "main"] < 2:
            time.sleep(0.01)
        found = scrape(server)
        assert found["delivered_objects_total", "main"] == 2
        assert found["delivered_dropped_total", "main"] == 1
        assert found["delivered_failed_records_total", "processing-failed"] == 1
        assert found["delivered_bytes_total", "backup"] == 6
        assert found["delivering_age_seconds", "main"] == found["delivering_buffered", "main"] == 0
        firehose.delete_delivery_stream(DeliveryStreamName="a")
        assert scrape(server) == {}


async def test_refusals_of_an_endpoint_are_counted(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [refused] * 100
    async with House(tmp_path, firehose_compat="emulator") as house:
        await create(house, receiver.url, retry_s=5)
        await house.put("firehose/flights", [b"1", b"2"])
        await house.until(lambda: house.settled() == 2, step_s=1)
        ((stream, lane, meter),) = house.firehose.meters()
        assert (stream.name, lane) == ("flights", "main")
        assert meter.refusals == len(receiver.requests) > 1
        assert meter.failed == {"http-endpoint-failed": 2}
        assert (meter.records, meter.objects) == (2, 1)
