"""HTTP endpoints that take deliveries: Data Firehose's HTTP endpoint delivery protocol, version 1.0.

POST      X-Amz-Firehose-Protocol-Version: 1.0, -Request-Id, -Source-Arn, -Access-Key (where there is one),
          -Common-Attributes: {"commonAttributes": {…}} (where there are some); Content-Encoding: gzip if asked for
          {"requestId": …, "timestamp": ms, "records": [{"data": base64}, …]}, at most 10,000 records and 64 MiB
taken     200, application/json, at most 1 MiB, not encoded: {"requestId": the same, "timestamp": number}
not       anything else; 413 will never be taken, the rest may be later
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streams.core.errors import HeadraceError

RECORDS_MAX = 10_000
BODY_SIZE_MAX = 64 << 20
"""Limits of one request, the protocol's."""

ANSWER_SIZE_MAX = 1 << 20
TIMEOUT_S = 180.0
"""How long an answer may take, the protocol's."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`source_arn` is the ARN of what delivers; `attributes` go along with every request. One that is `lenient` has
    also taken what it answered with 200 and nothing else."""

    url: str
    source_arn: str
    access_key: str | None = None
    attributes: Mapping[str, str] | None = None
    gzip: bool = False
    lenient: bool = False


class EndpointError(HeadraceError):
    """A request that was not taken: AWS's code, and whether the same can never be taken."""

    retry = True

    def __init__(self, code: str, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.code = f"HttpEndpoint.{code}"
        self.permanent = permanent
