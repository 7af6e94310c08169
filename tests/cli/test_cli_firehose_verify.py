from __future__ import annotations

import json
import time
from pathlib import Path

from click.testing import CliRunner, Result

from gateway.cli.root import main
from gateway.testing import TestServer

ROLE = "arn:aws:iam::000000000000:role/r"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["firehose", "verify", *arguments], prog_name="headrace")


def deliver(data: Path, *names: str) -> None:
    with TestServer(data=str(data)) as server:
        firehose = server.client("firehose")
        for name in names:
            firehose.create_delivery_stream(
                DeliveryStreamName=name,
                ExtendedS3DestinationConfiguration={
                    "RoleARN": ROLE,
                    "BucketARN": "arn:aws:s3:::lake",
                    "Prefix": f"{name}/",
                    "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 10},
                },
            )
            firehose.put_record_batch(DeliveryStreamName=name, Records=[{"Data": b"%d" % n} for n in range(20)])
        while not all(list((data / "buckets" / "lake" / name).rglob("*-*")) for name in names):
            server.advance(10)
            time.sleep(0.01)  # the delivery runs in threads of the server, which tell nobody


def test_delivery_streams_are_verified_by_name(tmp_path: Path) -> None:
    data = tmp_path / "data"
    deliver(data, "clicks", "orders")
    whole = run("--data", str(data))
    assert whole.exit_code == 0, whole.output
    assert "clicks: whole, 20 records in 1 objects, 30 bytes read" in whole.stdout
    one = run("orders", "--data", str(data), "--json", "--sizes")
    (report,) = map(json.loads, one.stdout.splitlines())
    assert (report["stream"], report["whole"], report["records"], report["bytes"]) == ("orders", True, 20, 0)
    assert "no delivery stream absent" in run("absent", "--data", str(data)).stderr
    assert "holds no log" in run("--data", str(tmp_path / "none")).stderr
    (path,) = (path for path in (data / "buckets" / "lake" / "clicks").rglob("*") if path.is_file())
    path.write_bytes(path.read_bytes()[::-1])
    damaged = run("--data", str(data))
    assert damaged.exit_code == 1
    assert "clicks: WRONG" in damaged.stdout
    assert "its bytes are not those that were put there" in damaged.stdout
    assert "orders: whole" in damaged.stdout
    assert "1 thing is wrong" in damaged.stderr
