"""What all tests share: examples and seeds that are the same in every run, and AWS's newest models for clients."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import re
import signal
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import hypothesis
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.wire.model import SHIPPED
from tests.kafka.kafka_broker import Broker, installed
from tests.kafka.noida_broker import NoidaBroker

# A run fails for what has changed since the last one: examples are the same ones, and how fast a machine draws them says
# nothing about correctness. HYPOTHESIS_PROFILE=fresh draws new ones.
hypothesis.settings.register_profile(
    "headrace",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile("fresh", hypothesis.settings.get_profile("headrace"), derandomize=False)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "headrace"))

# What a shell starts in the background ignores Ctrl-C, and so would every process that tests start and then interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A boto3 client made by a test knows every operation, whatever botocore is installed.
os.environ["AWS_DATA_PATH"] = str(SHIPPED)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The test's own, in every run, and printed where it fails. HEADRACE_TEST_SEED replays one; "fresh" draws one, as
    long runs do."""
    given = os.environ.get("HEADRACE_TEST_SEED", "")
    if given == "fresh" or (not given and request.node.get_closest_marker("soak")):
        value = random.randrange(2**32)
    else:
        value = int(given) if given else zlib.crc32(request.node.nodeid.encode())
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
