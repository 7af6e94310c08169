"""Whose resource: every stream, delivery stream and application belongs to one account in one region."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Scope:
    """The account (12 digits) and region that a caller acts in. (account, region, name) is the key of a resource."""

    account: str = DEFAULT_ACCOUNT
    region: str = DEFAULT_REGION

    def stream_arn(self, name: str) -> str:
        return f"arn:aws:kinesis:{self.region}:{self.account}:stream/{name}"

    def queue_arn(self, queue_id: str) -> str:
        return f"arn:aws:kinesis:{self.region}:{self.account}:queue/{queue_id}"

    def delivery_stream_arn(self, name: str) -> str:
        return f"arn:aws:firehose:{self.region}:{self.account}:deliverystream/{name}"

    def application_arn(self, name: str) -> str:
        return f"arn:aws:kinesisanalytics:{self.region}:{self.account}:application/{name}"


_DELIVERY = "firehose/"


def delivery_source(delivery_stream: str) -> str:
    """The hidden stream that keeps a direct-put delivery stream's records.

    The slash keeps it out of the reach of the Kinesis API, whose stream names match ``[a-zA-Z0-9_.-]+``; native clients
    may put into it, which is how an application's output enters a delivery stream exactly once.
    """
    return f"{_DELIVERY}{delivery_stream}"


def delivery_of(stream: str) -> str | None:
    """The delivery stream whose records this one keeps; None for a stream that is none of these."""
    name = stream.removeprefix(_DELIVERY)
    return name if name != stream and name and "/" not in name else None
