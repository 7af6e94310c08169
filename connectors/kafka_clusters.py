"""Topics of Kafka clusters, by what names them: ARNs, behind which the setting ``kafka_clusters`` knows brokers, and URLs.

arn:aws:kafka:REGION:ACCOUNT:cluster/NAME/ID            a cluster
arn:aws:kafka:REGION:ACCOUNT:topic/NAME/ID/TOPIC        a topic of it, as AWS's policies name it
kafka://host:9092,host:9092/TOPIC?security=…            a topic, with its brokers
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from streams.core.brokers import Brokers, brokers_of, shown
from streams.core.clock import Clock
from streams.core.errors import ExtraMissing, InvalidArgument, SettingsError
from streams.sdk.client import Readable

if TYPE_CHECKING:
    from connectors.kafka_sink import TopicSink

SETTING = "kafka_clusters"


@dataclass(frozen=True, slots=True)
class TopicAt:
    """A topic and where it is. `arn` is how descriptions name it."""

    brokers: Brokers
    topic: str
    arn: str = ""

    def __str__(self) -> str:
        return f"topic {self.topic} at {self.brokers}"

    def client(self, clock: Clock) -> Readable:
        """Reads it. Close it. Raises `InvalidArgument`."""
        try:
            from connectors.kafka_client import TopicClient
        except ExtraMissing as error:
            raise InvalidArgument(error.message) from error
        return TopicClient(self.brokers, self.topic, arn=self.arn, clock=clock)

    def sink(self, producer: str, clock: Clock) -> TopicSink:
        """Puts into it, as `producer`. Close it. Raises `InvalidArgument`."""
        try:
            from connectors.kafka_sink import TopicSink
        except ExtraMissing as error:
            raise InvalidArgument(error.message) from error
        return TopicSink(self.brokers, self.topic, producer, clock=clock)


def brokers_at(clusters: Mapping[str, str], arn: str) -> Brokers:
    """Of a cluster. Raises `InvalidArgument`."""
    url = clusters.get(arn)
    if url is None:
        raise InvalidArgument(
            f"MSK cluster {arn} is not known here: the setting {SETTING} says where the brokers of a cluster are, as in"
            f' [{SETTING}] "{arn}" = "kafka://host:9092".'
        )
    return brokers_of(url)


def topic_client(clusters: Mapping[str, str], arn: str, topic: str, clock: Clock) -> Readable:
    """Reads a topic of the cluster. Close it. Raises `InvalidArgument`."""
    return TopicAt(brokers_at(clusters, arn), topic, arn).client(clock)


def is_topic(arn: str) -> bool:
    parts = arn.split(":", 5)
    return len(parts) == 6 and parts[2] == "kafka" and parts[5].startswith("topic/") and parts[5].count("/") == 3


def topic_of(clusters: Mapping[str, str], arn: str) -> TopicAt | None:
    """The topic that an ARN names; None for ARNs of other things. Raises `InvalidArgument`."""
    if not is_topic(arn):
        return None
    return TopicAt(brokers_at(clusters, cluster_of(arn)), arn.rpartition("/")[2], arn)


def cluster_of(arn: str) -> str:
    """The ARN of a topic's cluster."""
    return arn.replace(":topic/", ":cluster/", 1).rpartition("/")[0]


def topic_at(url: str) -> TopicAt:
    """Raises `SettingsError`."""
    parts = urlsplit(url)
    topic = parts.path.strip("/")
    if parts.scheme != "kafka" or not topic or "/" in topic:
        raise SettingsError(f"the topic {shown(url)!r}: it is written kafka://host:9092,host:9092/TOPIC?security=…")
    return TopicAt(brokers_of(urlunsplit(parts._replace(path=""))), topic)
