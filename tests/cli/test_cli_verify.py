from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

import streams
from gateway.cli.root import main


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["stream", "verify", *arguments], prog_name="headrace")


def test_a_data_directory_is_verified_by_stream_names(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with streams.open(data) as client:
        for name in ("orders", "clicks"):
            client.create_stream(name)
            with client.producer(name) as producer:
                for number in range(50):
                    producer.put(f"{number}", "k")
    whole = run("--data", str(data))
    assert whole.exit_code == 0, whole.output
    assert "orders shardId-000000000000: whole, records 0 to 49 (50)" in whole.stdout
    assert "control/catalog: whole" in whole.stdout
    one = run("clicks", "--data", str(data), "--json")
    (shard,) = map(json.loads, one.stdout.splitlines())
    assert (shard["shard"], shard["whole"], shard["records"]) == ("clicks shardId-000000000000", True, 50)
    assert "no stream absent" in run("absent", "--data", str(data)).stderr
    assert "holds no log" in run("--data", str(tmp_path / "none")).stderr
    segment = max((data / "log" / "shards" / "streams").rglob("*.log"), key=lambda path: path.stat().st_size)
    content = bytearray(segment.read_bytes())
    content[100] ^= 1
    segment.write_bytes(content)
    damaged = run("--data", str(data))
    assert damaged.exit_code == 1
    assert "1 shard is damaged" in damaged.stderr
    assert f"{segment}, byte 0" in damaged.stdout
