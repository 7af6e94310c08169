"""`kill -9` of the real server while workers compete for the records of a queue.

What must hold: every record that was put is received by somebody until it is acknowledged; none is received again once
its acknowledgement was answered. A record whose acknowledgement was under way may be either.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import botocore.exceptions

from tests.system.process import ServerProcess

KILLS = 12
WORKERS = 16
FAILURES = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)


class Work:
    """Producers and workers in threads, until `stop`; what they were told is kept over many lives of the server."""

    def __init__(self, server: ServerProcess, queue: str) -> None:
        self.server = server
        self.queue = queue
        self.put: set[str] = set()
        self.received = Counter[str]()
        self.acknowledged: set[str] = set()
        self.unsure: set[str] = set()
        self.again: list[str] = []
        self._number = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._stopped.clear()
        client = self.server.client("kinesis", max_pool_connections=WORKERS + 2)
        jobs = [self._produce] * 2 + [self._consume] * WORKERS
        self._threads = [threading.Thread(target=job, args=(client,)) for job in jobs]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _produce(self, client: Any) -> None:
        while not self._stopped.is_set():
            with self._lock:
                ids = [f"{number:08d}" for number in range(self._number, self._number + 20)]
                self._number += 20
            records = [{"Data": id_.encode(), "PartitionKey": id_} for id_ in ids]
            try:
                reply = client.put_records(StreamName="s", Records=records)
            except FAILURES:
                return
            taken = {id_ for id_, one in zip(ids, reply["Records"], strict=True) if "SequenceNumber" in one}
            with self._lock:
                self.put |= taken

    def _consume(self, client: Any) -> None:
        while not self._stopped.is_set():
            try:
                self.work(client)
            except FAILURES:
                return

    def work(self, client: Any) -> int:
        """One cycle. What had been acknowledged before it was asked for must not come."""
        with self._lock:
            before = set(self.acknowledged)
        records = client.receive_queue_records(QueueARN=self.queue, WaitTimeSeconds=1)["QueueRecords"]
        ids = {record["ReceiptHandle"]: record["Data"].decode() for record in records}
        with self._lock:
            self.received.update(ids.values())
            self.again += [id_ for id_ in ids.values() if id_ in before]
        if ids:
            with self._lock:
                self.unsure |= set(ids.values())
            entries = [{"ReceiptHandle": handle} for handle in ids]
            reply = client.acknowledge_queue_records(QueueARN=self.queue, Entries=entries)
            with self._lock:
                self.acknowledged |= {ids[one["ReceiptHandle"]] for one in reply["Successful"]}
        return len(ids)


async def test_no_record_is_lost_and_none_comes_back_after_its_acknowledgement(tmp_path: Path, seed: int) -> None:
    moments = random.Random(seed)
    with ServerProcess(tmp_path / "data") as server:
        port = server.start().port
        kinesis = server.client("kinesis")
        kinesis.create_stream(StreamName="s", StreamModeDetails={"StreamMode": "ON_DEMAND"})
        arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
        queue = kinesis.create_queue(
            QueueName="q",
            StreamConfigurationList=[{"StreamARN": arn, "StartingPosition": {"Type": "TRIM_HORIZON"}}],
            QueueAttributes={"VisibilityTimeoutSeconds": 2, "DeadLetterConfiguration": {"TargetType": "NONE"}},
        )
        work = Work(server, queue["QueueDescription"]["QueueARN"])
        for _ in range(KILLS):
            work.start()
            await asyncio.sleep(moments.uniform(0.1, 0.9))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(work.stop)
            await asyncio.to_thread(server.start, port)

        def drain() -> None:
            client = server.client("kinesis")
            quiet = 0
            # In flight for two seconds at most: three empty waits of one second are enough.
            while quiet < 3:
                quiet = 0 if work.work(client) else quiet + 1

        await asyncio.to_thread(drain)
        assert len(work.put) > 100 * KILLS, "the workers had something to do"
        lost = sorted(work.put - work.acknowledged - work.unsure)
        assert not lost, f"never received and acknowledged: {lost[:5]} of {len(work.put)}"
        assert len(work.unsure - work.acknowledged) <= 10 * WORKERS * KILLS
        assert not work.again, f"received again after its acknowledgement: {work.again[:5]}"
        assert server.stop() == 0, server.tail()
