"""Objects in an S3 server over its own protocol: their headers, and that an object is created once."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import cramjam
import pytest
import requests
import s3fs
from moto.server import ThreadedMotoServer

from connectors.files import open_store
from tests.firehose.harness import NEWLINES, House, processing


@pytest.fixture
def s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """boto3's client of an S3 server that s3fs finds through the environment, with the empty bucket `lake`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    requests.post(f"http://{host}:{port}/moto-api/reset", timeout=10)
    client.create_bucket(Bucket="lake")
    s3fs.S3FileSystem.clear_instance_cache()
    yield client
    server.stop()


def unpacked(compression: str, body: bytes) -> bytes:
    match compression:
        case "ZIP":
            archive = zipfile.ZipFile(BytesIO(body))
            return archive.read(archive.namelist()[0])
        case "Snappy":
            return bytes(cramjam.snappy.decompress_raw(body[20:]))
        case "HADOOP_SNAPPY":
            return bytes(cramjam.snappy.decompress_raw(body[8:]))
        case "GZIP":
            return bytes(cramjam.gzip.decompress(body))
    return body


@pytest.mark.parametrize(
    ("compression", "encoding", "extension"),
    [
        ("UNCOMPRESSED", None, ""),
        ("GZIP", "gzip", ".gz"),
        ("ZIP", "zip", ".zip"),
        ("Snappy", "snappy-java", ".snappy"),
        ("HADOOP_SNAPPY", "hadoop-snappy", ".snappy"),
    ],
)
async def test_headers_and_bytes_of_every_compression(
    tmp_path: Path, s3_server: Any, compression: str, encoding: str | None, extension: str
) -> None:
    async with House(tmp_path, buckets={"lake": "s3://lake/raw"}) as house:
        await house.create(CompressionFormat=compression, **processing(NEWLINES))
        await house.put("firehose/flights", [b"one", b"two"])
        await house.until(lambda: house.settled() == 2, step_s=10)
    (listed,) = s3_server.list_objects_v2(Bucket="lake")["Contents"]
    assert listed["Key"].startswith("raw/2023/11/14/22/flights-1-")
    assert listed["Key"].endswith(extension)
    found = s3_server.get_object(Bucket="lake", Key=listed["Key"])
    assert found["ContentType"] == "application/octet-stream"
    assert found.get("ContentEncoding") == encoding
    assert unpacked(compression, found["Body"].read()) == b"one\ntwo\n"


def test_an_object_is_created_once(tmp_path: Path, s3_server: Any) -> None:
    store = open_store("s3://lake/raw")
    (tmp_path / "staged").write_bytes(b"content")
    store.publish(tmp_path / "staged", "a")
    store.publish(tmp_path / "staged", "a", "gzip")
    s3_server.put_object(Bucket="lake", Key="raw/b", Body=b"somebody else's")
    with pytest.raises(OSError, match=r"(?i)pre-?condition"):
        store.publish(tmp_path / "staged", "b")
    assert s3_server.get_object(Bucket="lake", Key="raw/b")["Body"].read() == b"somebody else's"
    assert "ContentEncoding" not in s3_server.get_object(Bucket="lake", Key="raw/a")
