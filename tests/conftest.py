"""What all tests share: a hypothesis profile without timing, seeds that are printed, and AWS's newest models for clients."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import hypothesis
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.wire.model import SHIPPED
from tests.kafka.kafka_broker import Broker, installed
from tests.kafka.noida_broker import NoidaBroker

# Timings on shared machines say nothing about correctness.
hypothesis.settings.register_profile("headrace", deadline=None, print_blob=True)
hypothesis.settings.load_profile("headrace")

# A boto3 client made by a test knows every operation, whatever botocore is installed.
os.environ["AWS_DATA_PATH"] = str(SHIPPED)


@pytest.fixture
def seed() -> int:
    """A fresh seed, printed with a failing test; HEADRACE_TEST_SEED replays one."""
    value = int(os.environ.get("HEADRACE_TEST_SEED") or random.randrange(2**32))
    print(f"HEADRACE_TEST_SEED={value}")
    return value


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker | NoidaBroker]:
    """An Apache Kafka that all tests of a process share: nobody stops it. On a machine without Java a smaller broker, but
    in CI, where that is a failure."""
    folder = tmp_path_factory.mktemp("kafka")
    small = not installed() and not os.environ.get("CI")
    broker = NoidaBroker(folder).start() if small else Broker(folder).start()
    yield broker
    broker.kill()


_turns = itertools.count()


@pytest.fixture
def kafka_url(kafka_broker: Broker | NoidaBroker) -> Iterator[str]:
    """A log of its own on it."""
    prefix = f"t{next(_turns)}"
    yield f"kafka://{kafka_broker.address}/{prefix}"
    # Everybody's picture of the cluster has all topics in it: what hundreds of tests leave would slow the next ones down.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, _clear(kafka_broker.address, prefix)).result()


async def _clear(address: str, prefix: str) -> None:
    """As far as it can be: nothing depends on it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    with contextlib.suppress(KafkaError):
        await admin.start()
        topics = [topic for topic in await admin.list_topics() if re.match(rf"{prefix}[.-]", topic)]
        await admin.delete_topics(topics)
    await admin.close()
