"""Makes what brokers of the tests start from, once for a machine: ``python -m tests.kafka.kafka_start FOLDER``.

classes.jsa     their classes as the JVM has them in memory (class data sharing): a start takes half the CPU
storage/        of a node that is formatted and has not started
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tests.kafka.kafka_broker import JVM, Broker


def make(folder: Path) -> None:
    """In `folder`, which is made. Other JVMs than this one, or other jars, look away from the archive."""
    with tempfile.TemporaryDirectory() as temporary:
        broker = Broker(Path(temporary) / "kafka")
        broker.format()
        folder.mkdir(parents=True)
        shutil.copytree(broker.folder / "storage", folder / "storage")
        broker.jvm = (*JVM, f"-XX:ArchiveClassesAtExit={folder.resolve() / 'classes.jsa'}")
        broker.start()
        broker.stop()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
