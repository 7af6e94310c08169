"""Delivery streams on ``/metrics``."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from firehose import Firehose
from streams.core.clock import Clock

_LABELS = ("account", "region", "delivery_stream", "lane")
_COUNTS = {
    "records": "Records delivered, the error output included (CloudWatch: DeliveryToS3.Records, BackupToS3.Records)",
    "bytes": "Bytes of objects and requests delivered (CloudWatch: DeliveryToS3.Bytes, BackupToS3.Bytes)",
    "objects": "Objects and requests delivered (CloudWatch: DeliveryToS3.ObjectCount)",
    "dropped": "Records that a function dropped, or in which there was nothing",
    "refusals": "Tries of a delivery that failed (CloudWatch: DeliveryToS3.Success)",
}
_GAUGES = {
    "buffered": "Bytes that wait in memory",
    "spilled": "Bytes that wait on disk, of partitions that memory has no room for",
    "partitions": "Partitions that have records waiting (CloudWatch: PartitionCount)",
}


class Deliveries(Collector):
    """Per delivery stream and lane: ``main``, and ``backup`` where originals are kept."""

    def __init__(self, firehose: Firehose, clock: Clock) -> None:
        self._firehose = firehose
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        rows = [
            ((stream.scope.account, stream.scope.region, stream.name, lane), meter)
            for stream, lane, meter in self._firehose.meters()
        ]
        for name, text in _COUNTS.items():
            counter = CounterMetricFamily(f"headrace_delivered_{name}", text, labels=_LABELS)
            for labels, meter in rows:
                counter.add_metric(labels, getattr(meter, name))
            yield counter
        failed = CounterMetricFamily(
            "headrace_delivered_failed_records",
            "Records that went to the error output, by its type (CloudWatch: FailedConversion.Records and its kin)",
            labels=(*_LABELS, "type"),
        )
        for labels, meter in rows:
            for kind, count in meter.failed.items():
                failed.add_metric((*labels, kind), count)
        yield failed
        for name, text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"headrace_delivering_{name}", text, labels=_LABELS)
            for labels, meter in rows:
                gauge.add_metric(labels, getattr(meter, name))
            yield gauge
        age = GaugeMetricFamily(
            "headrace_delivering_age_seconds",
            "Age of the oldest record that was read and is not delivered (CloudWatch: DeliveryToS3.DataFreshness)",
            labels=_LABELS,
        )
        now_ms = self._clock.now_ms()
        for labels, meter in rows:
            age.add_metric(labels, 0 if meter.oldest_ms is None else max(0, now_ms - meter.oldest_ms) / 1000)
        yield age
