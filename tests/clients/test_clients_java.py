"""The AWS SDK for Java: v2 over HTTP/2 with prior knowledge and HTTP/1.1, plain and over TLS; v1; CBOR and JSON of both."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from clients_support import ENVIRONMENT, JAVA, installed

from gateway.testing import TestServer

SOURCE = Path(__file__).parent / "java" / "Client.java"
RECORDS = [f"r{number}" for number in range(20)]
PASSWORD = "changeit"  # of a key store that holds a public certificate


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The class path of the program, compiled once for all tests."""
    jars = installed("kcl") / "amazon_kclpy" / "jars" / "*"
    folder = tmp_path_factory.mktemp("classes")
    subprocess.run(["javac", "-d", folder, "-cp", str(jars), SOURCE], check=True)
    return f"{folder}:{jars}"


def run(classes: str, server: TestServer, how: str, *options: str) -> dict[str, object]:
    command = [*JAVA, *options, "-cp", classes, "Client", server.url, how]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("cbor", ["true", "false"])
def test_async_client_over_http2(classes: str, headrace: TestServer, cbor: str) -> None:
    assert run(classes, headrace, "async", f"-Daws.cborEnabled={cbor}") == pushed()


@pytest.mark.parametrize("cbor", ["true", "false"])
def test_sync_client_over_http1(classes: str, headrace: TestServer, cbor: str) -> None:
    missing = "Stream nothing under account 000000000000 not found."
    assert run(classes, headrace, "sync", f"-Daws.cborEnabled={cbor}") == {"got": RECORDS, "missing": missing}


@pytest.mark.headrace(tls="auto")
@pytest.mark.parametrize("how", ["async", "sync"])
def test_over_tls(classes: str, headrace: TestServer, tmp_path: Path, how: str) -> None:
    store = tmp_path / "trust.jks"
    authority = Path(headrace.settings.data) / "tls" / "ca.pem"
    command = ["keytool", "-importcert", "-noprompt", "-alias", "headrace", "-file", str(authority)]
    subprocess.run([*command, "-keystore", str(store), "-storepass", PASSWORD], check=True, capture_output=True)
    options = [f"-Djavax.net.ssl.trustStore={store}", f"-Djavax.net.ssl.trustStorePassword={PASSWORD}"]
    told = run(classes, headrace, how, *options)
    assert told["got"] == RECORDS
    if how == "async":
        assert told == pushed()


@pytest.mark.parametrize("options", [(), ("-Dcom.amazonaws.sdk.disableCbor=true",)], ids=["cbor", "json"])
def test_v1(headrace: TestServer, options: tuple[str, ...]) -> None:
    package = installed("java1")
    classes = f"{package / 'classes'}:{package / 'jars' / '*'}"
    command = [*JAVA, *options, "-cp", classes, "ClientV1", headrace.url]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "failed": 0,
        "got": [*RECORDS, "late"],
        "children": ["shardId-000000000001", "shardId-000000000002"],
        "missing": "Stream nothing under account 000000000000 not found.",
    }


def pushed() -> dict[str, object]:
    children = ["shardId-000000000001", "shardId-000000000002"]
    return {"got": RECORDS, "pushed": [*RECORDS, "late"], "children": children}
