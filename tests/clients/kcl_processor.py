"""What the KCL's daemon starts for each shard: it writes down every record, and the beginning and end of shards."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

sys.path.insert(0, os.environ["KCL_FOLDER"])

from amazon_kclpy import kcl
from amazon_kclpy.v3 import processor


class Processor(processor.RecordProcessorBase):  # type: ignore[misc]  # the package has no types
    def initialize(self, told: Any) -> None:
        self.shard = told.shard_id
        self.write(began=self.shard)

    def process_records(self, told: Any) -> None:
        for record in told.records:
            self.write(shard=self.shard, key=record.partition_key, data=record.binary_data.decode())
        told.checkpointer.checkpoint()

    def lease_lost(self, told: Any) -> None:
        self.write(lost=self.shard)

    def shard_ended(self, told: Any) -> None:
        self.write(ended=self.shard)
        told.checkpointer.checkpoint()

    def shutdown_requested(self, told: Any) -> None:
        told.checkpointer.checkpoint()

    def write(self, **what: str) -> None:
        with open(os.environ["KCL_OUTPUT"], "a") as file:
            file.write(json.dumps(what) + "\n")


kcl.KCLProcess(Processor()).run()
