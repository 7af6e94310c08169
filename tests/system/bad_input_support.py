"""Bad requests as data, and how they are sent: raw HTTP, since no client library would send most of them."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import msgspec
import pytest

from streams.wire.cbor import plain
from tests.system.process import ServerProcess

ROLE = "arn:aws:iam::000000000000:role/r"
RSS_MAX = 400 << 20
"""Of the whole suite, whose largest body is 64 MiB."""

FOLDER = Path(__file__).parent / "bad_input"
JSON, CBOR = "application/x-amz-json-1.1", "application/x-amz-cbor-1.1"
ANSWER_S_MAX = 20.0
"""Whatever takes longer hangs."""


class Answer(msgspec.Struct):
    """What came back: the error's code and message where there is one."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def told(self) -> Any:
        kind = self.headers.get("content-type", "")
        return plain(self.body) if kind == CBOR else json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.told["__type"])

    @property
    def message(self) -> str:
        return str(self.told.get("message", self.told.get("Message", "")))


class Caller:
    """One connection, opened again whenever the server has closed it."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S_MAX)

    def send(self, target: str, kind: str, body: bytes, method: str = "POST", path: str = "/") -> Answer:
        headers = {"X-Amz-Target": target, "Content-Type": kind}
        self._connection.request(method, path, body, {name: value for name, value in headers.items() if value})
        reply = self._connection.getresponse()
        headers = {name.lower(): value for name, value in reply.getheaders()}
        return Answer(reply.status, reply.read(), headers)

    def call(self, target: str, request: Any, kind: str = JSON) -> Answer:
        """`request` has bytes where blobs belong."""
        encoded = cbor2.dumps(request) if kind == CBOR else msgspec.json.encode(request)
        return self.send(target, kind, encoded)

    def healthy(self) -> bool:
        return self.send("", "", b"", "GET", "/healthz").status == 200

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def unimpressed(data: Path, environment: dict[str, str] | None = None) -> Iterator[ServerProcess]:
    """A server that, whatever it was asked, has said nothing of trouble within it, has not grown, and leaves in peace."""
    with ServerProcess(data, environment=environment).start() as server:
        yield server
        status = Path(f"/proc/{server.pid}/status").read_text()
        assert int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) << 10 < RSS_MAX
        assert server.stop() == 0
        # What functions print, tracebacks as well, is theirs.
        log = [line[:1000] for line in server.log.read_text().splitlines() if " INFO functions." not in line]
        assert not any("Traceback" in line or "never retrieved" in line for line in log), "\n".join(log[-50:])


def loaded(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((FOLDER / f"{name}.toml").read_text())["case"]
    return found


def cases(name: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in loaded(name)]


def in_cbor(body: str) -> bytes:
    """The same request in CBOR: what stands under ``Data`` in base64 as bytes."""
    return cbor2.dumps(_with_blobs(json.loads(body)))


def _with_blobs(value: Any) -> Any:
    match value:
        case dict():
            return {
                key: base64.b64decode(one) if key == "Data" and isinstance(one, str) else _with_blobs(one)
                for key, one in value.items()
            }
        case list():
            return [_with_blobs(one) for one in value]
        case _:
            return value


def raw(case: dict[str, Any]) -> tuple[str, bytes]:
    """The content type and the body of a case of bodies.toml."""
    parts = [bytes.fromhex(case["hex"])] if "hex" in case else [case["text"].encode()]
    if "repeat" in case:
        last = case["then"].encode() if "then" in case else parts.pop()
        parts += [last * case["repeat"], case.get("end", "").encode()]
    return case.get("type", CBOR if "hex" in case else JSON), b"".join(parts)


def check(answer: Answer, case: dict[str, Any]) -> None:
    """That the answer is the one that the case expects, and looks like one of AWS's."""
    assert answer.status == case.get("status", 400), answer
    if not case.get("unheard", False):
        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-amzn-requestid"])
    if "answer" in case:
        assert answer.body.decode() == case["answer"]
        return
    assert (answer.code, answer.headers["x-amzn-errortype"]) == (case["code"], case["code"]), answer.message
    if "match" in case:
        assert re.fullmatch(case["match"], answer.message), answer.message
    else:
        assert answer.message == case.get("message", "")
