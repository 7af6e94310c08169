"""Clusters of Kafka by their ARNs: where the setting ``kafka_clusters`` says that their brokers are."""

from __future__ import annotations

from collections.abc import Mapping

from streams.core.brokers import Brokers, brokers_of
from streams.core.clock import Clock
from streams.core.errors import ExtraMissing, InvalidArgument
from streams.sdk.client import Readable

SETTING = "kafka_clusters"


def brokers_at(clusters: Mapping[str, str], arn: str) -> Brokers:
    """Raises `InvalidArgument`."""
    url = clusters.get(arn)
    if url is None:
        raise InvalidArgument(
            f"MSK cluster {arn} is not known here: the setting {SETTING} says where the brokers of a cluster are, as in"
            f' [{SETTING}] "{arn}" = "kafka://host:9092".'
        )
    return brokers_of(url)


def topic_client(clusters: Mapping[str, str], arn: str, topic: str, clock: Clock) -> Readable:
    """Reads a topic of the cluster. Close it. Raises `InvalidArgument`."""
    brokers = brokers_at(clusters, arn)
    try:
        from connectors.kafka_client import TopicClient
    except ExtraMissing as error:
        raise InvalidArgument(error.message) from error
    return TopicClient(brokers, topic, arn=arn, clock=clock)
