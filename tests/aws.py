"""boto3 as its users have it, but that it knows all operations whatever botocore is installed."""

from __future__ import annotations

from functools import cache

import boto3
import botocore.session

from streams.wire.model import SHIPPED


@cache
def session() -> boto3.Session:
    """One for all: an error's class belongs to the session whose client raised it."""
    core = botocore.session.Session()
    core.set_config_variable("data_path", str(SHIPPED))
    return boto3.Session(botocore_session=core)
