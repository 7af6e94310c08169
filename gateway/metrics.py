"""``/metrics``: what Prometheus reads. The names are Prometheus's way of saying it; the help names CloudWatch's."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from streams.service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

LATENCIES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends of the latency histogram's buckets."""

PAIRS_MAX = 1000
"""Pairs of operation and code that are told apart: there are far fewer, and what a caller sends must not make more."""

_COUNTS = {
    "incoming_bytes": "Bytes of records put (CloudWatch: IncomingBytes)",
    "incoming_records": "Records put (CloudWatch: IncomingRecords)",
    "outgoing_bytes": "Bytes of records read (CloudWatch: GetRecords.Bytes; per shard OutgoingBytes)",
    "outgoing_records": "Records read (CloudWatch: GetRecords.Records; per shard OutgoingRecords)",
    "write_throttled_records": (
        "Records refused by a shard's write limit (CloudWatch: WriteProvisionedThroughputExceeded)"
    ),
    "read_throttled_calls": ("Reads refused by a shard's read limit (CloudWatch: ReadProvisionedThroughputExceeded)"),
    "failed_records": "Records of PutRecords that failed (CloudWatch: PutRecords.FailedRecords, ThrottledRecords)",
}


class RequestMetrics:
    """Requests by operation and code, and how long they took."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = {}
        self.latencies: dict[str, list[int]] = {}
        self.sums_s: dict[str, float] = {}

    def add(self, operation: str, code: str, seconds: float) -> None:
        """`code` is "ok", or the error's."""
        pair = operation, code
        if pair not in self.counts and len(self.counts) >= PAIRS_MAX:
            return
        self.counts[pair] = self.counts.get(pair, 0) + 1
        buckets = self.latencies.get(operation)
        if buckets is None:
            buckets = self.latencies[operation] = [0] * (len(LATENCIES_S) + 1)
        buckets[bisect_left(LATENCIES_S, seconds)] += 1
        self.sums_s[operation] = self.sums_s.get(operation, 0.0) + seconds


class MetricsPage:
    """The page, made anew for each scrape."""

    def __init__(self, streams: Service, requests: RequestMetrics, *more: Collector) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._registry.register(_Requests(requests))
        self._registry.register(_Streams(streams))
        for collector in more:
            self._registry.register(collector)

    def render(self) -> bytes:
        return generate_latest(self._registry)


class _Requests(Collector):
    def __init__(self, requests: RequestMetrics) -> None:
        self._requests = requests

    def collect(self) -> Iterable[Metric]:
        total = CounterMetricFamily(
            "headrace_requests", "Requests answered, by operation and error code", labels=["operation", "code"]
        )
        for pair, count in self._requests.counts.items():
            total.add_metric(pair, count)
        latency = HistogramMetricFamily(
            "headrace_request_seconds",
            "Time from the whole request to its answer (CloudWatch: PutRecord.Latency, GetRecords.Latency)",
            labels=["operation"],
        )
        for operation, buckets in self._requests.latencies.items():
            running, ends = 0, []
            for end, count in zip((*LATENCIES_S, "+Inf"), buckets, strict=True):
                running += count
                ends.append((str(end), running))
            latency.add_metric([operation], ends, self._requests.sums_s[operation])
        return total, latency


class _Streams(Collector):
    """Per stream with an empty shard, and per shard where enhanced monitoring is on."""

    _LABELS = ("account", "region", "stream", "shard")

    def __init__(self, streams: Service) -> None:
        self._streams = streams

    def collect(self) -> Iterator[Metric]:
        rows = list(self._streams.metrics())
        for name, text in _COUNTS.items():
            family = CounterMetricFamily(f"headrace_{name}", text, labels=self._LABELS)
            for stream, shard, counts in rows:
                family.add_metric((stream.account, stream.region, stream.name, shard), getattr(counts, name))
            yield family
        age = GaugeMetricFamily(
            "headrace_iterator_age_milliseconds",
            "How far the last reader was behind (CloudWatch: GetRecords.IteratorAgeMilliseconds)",
            labels=self._LABELS,
        )
        for stream, shard, counts in rows:
            age.add_metric((stream.account, stream.region, stream.name, shard), counts.iterator_age_ms)
        yield age
        shards = GaugeMetricFamily(
            "headrace_open_shards", "Open shards (CloudWatch: OpenShardCount)", labels=self._LABELS[:3]
        )
        for stream in self._streams.visible_streams():
            shards.add_metric((stream.account, stream.region, stream.name), len(stream.open_shards()))
        yield shards
        yield GaugeMetricFamily(
            "headrace_subscriptions", "Shards that are subscribed to now", value=self._streams.subscriptions
        )
