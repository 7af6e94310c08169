"""Why brokers do not let us in, which aiokafka keeps to itself."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError

from streams.core.brokers import Security, connection_options
from streams.core.errors import SettingsError

REFUSAL_S = 5.0
"""How long a broker is asked why it does not take us."""


async def refusal(brokers: Sequence[str], security: Security) -> str:
    """Why the first broker that says so does not take us; empty where none says anything. aiokafka keeps it to itself."""
    try:
        options = connection_options(security)
    except SettingsError as error:
        return error.message
    for broker in brokers:
        host, _, port = broker.rpartition(":")
        try:
            connection = await create_conn(
                host.strip("[]"), int(port), request_timeout_ms=round(REFUSAL_S * 1000), **options
            )
        except ssl.SSLError as error:
            return f"{broker}: TLS fails: {error}"
        except (KafkaError, OSError, TimeoutError) as error:
            if "uthenticat" in repr(error) or "Sasl" in repr(error):
                return f"{broker} does not know user {security.user!r} with this password: {error}"
            if isinstance(error.__cause__, ssl.SSLError):
                return f"{broker}: TLS fails: {error.__cause__}"
            continue
        connection.close()
    return ""
