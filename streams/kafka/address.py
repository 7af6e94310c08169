"""Where a log on Apache Kafka is: the setting `log` taken apart.

address    = "kafka://" broker *("," broker) ["/" prefix] ["?" option *("&" option)]
broker     = host ":" port
prefix     = 1*64 of [A-Za-z0-9-]          ; what the names of its topics begin with, "headrace"
option     = "compression=" ( "lz4" / "zstd" / "snappy" / "gzip" / "none" )
           / "replication=" number         ; copies of each record, the brokers' default where it is not said
           / security                      ; how to reach the brokers, see `streams.core.brokers`

kafka://k1:9092,k2:9092,k3:9092/orders?compression=zstd
kafka://k1:9093/orders?security=sasl_ssl&user=headrace&password=env:KAFKA_PASSWORD&ca=/etc/kafka/ca.pem
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from streams.core.brokers import PLAINTEXT, Security, hosts_of, security_of, shown
from streams.core.errors import SettingsError

SCHEME = "kafka://"
COMPRESSIONS = ("lz4", "zstd", "snappy", "gzip", "none")
FORM = "kafka://host:9092,host:9092/prefix?compression=lz4&replication=3"

_PREFIX = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class Address:
    """`compression` is None for none, `replication` -1 for the brokers' default."""

    brokers: tuple[str, ...]
    prefix: str = "headrace"
    compression: str | None = "lz4"
    replication: int = -1
    security: Security = PLAINTEXT


def parse(text: str) -> Address:
    """Raises `SettingsError`."""
    try:
        parts = urlsplit(text)
        options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError as error:
        raise _wrong(text, str(error)) from error
    if parts.scheme != "kafka":
        raise _wrong(text, f"{parts.scheme or 'nothing'}:// is not a log that there is")
    try:
        brokers = hosts_of(parts.netloc)
    except ValueError as error:
        raise _wrong(text, str(error)) from error
    prefix = parts.path.strip("/") or "headrace"
    if not _PREFIX.fullmatch(prefix):
        raise _wrong(text, f"the prefix {prefix!r} is not 1 to 64 letters, digits and hyphens")
    compression = options.pop("compression", "lz4")
    if compression not in COMPRESSIONS:
        raise _wrong(text, f"compression is one of {', '.join(COMPRESSIONS)}, not {compression!r}")
    replication = options.pop("replication", "-1")
    if not re.fullmatch(r"-1|[1-9]\d{0,2}", replication):
        raise _wrong(text, f"replication is a number of copies, not {replication!r}")
    try:
        security = security_of(options)
    except ValueError as error:
        raise _wrong(text, str(error)) from error
    if options:
        raise _wrong(text, f"unknown option {next(iter(options))!r}")
    return Address(brokers, prefix, None if compression == "none" else compression, int(replication), security)


def _wrong(text: str, why: str) -> SettingsError:
    return SettingsError(f"setting log = {shown(text)!r}: {why}; it is empty, for the data directory, or {FORM}")
