"""TLS: certificates made here or brought along, HTTP/1.1 and HTTP/2 by agreement, and callers who get it wrong."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import SSLError
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from gateway_support import Peer

from gateway import certificates
from gateway.app import App
from gateway.server import DRAIN_S
from streams.core.clock import ManualClock
from streams.core.errors import SettingsError
from streams.core.settings import Settings
from streams.sdk.http import HttpClient

KEYS = {"region_name": "us-east-1", "aws_access_key_id": "k", "aws_secret_access_key": "s"}
NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with await App.start(Settings(data=str(tmp_path), port=0, log_sync="os", tls="auto")) as started:
        yield started


@pytest.fixture
def authority(app: App, tmp_path: Path) -> str:
    return str(tmp_path / "tls" / "ca.pem")


async def test_boto3_trusts_the_authority_and_nobody_else_does(app: App, authority: str) -> None:
    def use() -> None:
        assert app.url.startswith("https://127.0.0.1:")
        for host in ("127.0.0.1", "localhost"):
            url = app.url.replace("127.0.0.1", host)
            client = boto3.client("kinesis", endpoint_url=url, verify=authority, **KEYS)
            assert client.list_streams()["StreamNames"] == []
            client.close()
        stranger = boto3.client(
            "kinesis", endpoint_url=app.url, config=Config(retries={"total_max_attempts": 1}), **KEYS
        )
        with pytest.raises(SSLError, match="certificate verify failed"):
            stranger.list_streams()
        stranger.close()

    await asyncio.to_thread(use)


@pytest.mark.parametrize("agreed", [True, False])
async def test_http2_is_agreed_on_or_known_by_its_first_bytes(app: App, authority: str, agreed: bool) -> None:
    context = ssl.create_default_context(cafile=authority)
    if agreed:
        context.set_alpn_protocols(["h2"])
    port = int(app.url.rpartition(":")[2])
    peer = Peer(*await asyncio.open_connection("127.0.0.1", port, ssl=context))
    assert peer.writer.get_extra_info("ssl_object").selected_alpn_protocol() == ("h2" if agreed else None)
    peer.h2.initiate_connection()
    await peer.flush()
    number = await peer.request("/healthz")
    assert await peer.answer(number) == ("200", b"ok\n")
    await peer.close()


async def test_the_native_client_and_the_command_line(app: App, authority: str) -> None:
    client = HttpClient(app.url, tls=ssl.create_default_context(cafile=authority))
    await client.create_stream("s")
    assert await client.list_streams() == ["s"]
    await client.close()
    command = [sys.executable, "-m", "gateway.cli", "stream", "list", "--endpoint", app.url]
    shown = await asyncio.to_thread(subprocess.run, [*command, "--ca", authority], capture_output=True, text=True)
    assert (shown.returncode, "s" in shown.stdout.split()) == (0, True)
    wrong = await asyncio.to_thread(subprocess.run, [*command, "--ca", __file__], capture_output=True, text=True)
    assert wrong.returncode != 0
    assert "holds no certificates (PEM)" in wrong.stderr


async def test_plain_requests_and_noise_on_the_tls_port_end(app: App, authority: str) -> None:
    port = int(app.url.rpartition(":")[2])
    for sent in (b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", bytes(range(256)) * 10, b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        if writer.can_write_eof():
            writer.write_eof()
        assert b"200" not in await asyncio.wait_for(reader.read(), 15)
        writer.close()
    client = HttpClient(app.url, tls=ssl.create_default_context(cafile=authority))
    assert await client.list_streams() == []
    await client.close()


async def test_an_idle_peer_that_says_no_goodbye_does_not_hold_up_the_end(app: App, authority: str) -> None:
    port = int(app.url.rpartition(":")[2])

    def ask() -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", port))
        peer = ssl.create_default_context(cafile=authority).wrap_socket(plain, server_hostname="127.0.0.1")
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        assert peer.recv(4096).startswith(b"HTTP/1.1 200")
        return peer

    with await asyncio.to_thread(ask) as peer:
        async with asyncio.timeout(DRAIN_S / 2):  # requests in flight would be given all of it
            await app.stop()
        assert await asyncio.to_thread(peer.recv, 4096) == b""


async def test_many_half_open_handshakes_hold_nobody_up(app: App, authority: str) -> None:
    port = int(app.url.rpartition(":")[2])
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
    client = HttpClient(app.url, tls=ssl.create_default_context(cafile=authority))
    assert await client.list_streams() == []
    await client.close()
    for _, writer in silent:
        writer.close()


def test_certificates_are_kept_renewed_and_made_for_other_names(tmp_path: Path) -> None:
    def contents(*names: str, now: dt.datetime = NOW) -> tuple[bytes, bytes]:
        certificate, key = certificates.ensure(tmp_path, names, now)
        assert stat.S_IMODE(key.stat().st_mode) == stat.S_IMODE((tmp_path / "ca-key.pem").stat().st_mode) == 0o600
        return certificate.read_bytes(), (tmp_path / "ca.pem").read_bytes()

    first, authority = contents()
    assert contents() == (first, authority)
    assert contents(now=NOW + dt.timedelta(days=certificates.LEAF_DAYS - 31)) == (first, authority)
    renewed, same = contents(now=NOW + dt.timedelta(days=certificates.LEAF_DAYS - 29))
    assert renewed != first
    assert same == authority
    other, same = contents("stream.example.org", "10.1.2.3")
    assert other != renewed
    assert same == authority
    assert contents("stream.example.org") == (other, authority)
    (tmp_path / "server.pem").write_text("nonsense")
    with pytest.raises(SettingsError, match="no certificate or key of ours"):
        contents()


def test_an_authority_is_renewed_for_the_same_key_years_before_it_ends(tmp_path: Path) -> None:
    certificates.ensure(tmp_path, [], NOW)
    old = tmp_path / "ca.pem"
    trusted = x509.load_pem_x509_certificate(old.read_bytes())
    late = NOW + dt.timedelta(days=certificates.AUTHORITY_DAYS - certificates.AUTHORITY_RENEW_DAYS + 1)
    leaf_path, _ = certificates.ensure(tmp_path, [], late)
    renewed = x509.load_pem_x509_certificate(old.read_bytes())
    assert renewed.not_valid_after_utc > trusted.not_valid_after_utc
    leaf = x509.load_pem_x509_certificate(leaf_path.read_bytes())
    for authority in (trusted, renewed):
        leaf.verify_directly_issued_by(authority)
    assert leaf.not_valid_after_utc < trusted.not_valid_after_utc, "whoever trusts the old one is not left out"


@pytest.mark.parametrize("name", ["ca.pem", "server-key.pem", "server.pem", "ca-key.pem"])
def test_what_a_crash_left_half_made_is_made_good(tmp_path: Path, name: str) -> None:
    """Each file in turn is gone, or one of another making."""
    other, here = tmp_path / "other", tmp_path / "here"
    certificates.ensure(other, [], NOW)
    for replacement in (None, (other / name).read_bytes()):
        certificates.ensure(here, [], NOW)
        (here / name).unlink()
        if replacement is not None:
            (here / name).write_bytes(replacement)
        certificate, key = certificates.ensure(here, [], NOW)
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
        leaf, authority = (x509.load_pem_x509_certificate(path.read_bytes()) for path in (certificate, here / "ca.pem"))
        leaf.verify_directly_issued_by(authority)
        ca_key = serialization.load_pem_private_key((here / "ca-key.pem").read_bytes(), None)
        assert ca_key.public_key() == authority.public_key()


async def test_a_new_certificate_is_shown_without_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificate, key = certificates.ensure(tmp_path / "own", [], dt.datetime.now(dt.UTC))
    brought = {"tls": "files", "tls_certificate": str(certificate), "tls_key": str(key)}
    async with await App.start(Settings(data=str(tmp_path / "data"), port=0, **brought)) as app:

        async def shown() -> str:
            address = ("127.0.0.1", int(app.url.rpartition(":")[2]))
            return await asyncio.to_thread(ssl.get_server_certificate, address)

        first = await shown()
        other, other_key = certificates.ensure(tmp_path / "other", [], dt.datetime.now(dt.UTC))
        key.write_bytes(other_key.read_bytes())
        app.reload()
        assert "what was in force stays: tls" in caplog.text
        assert await shown() == first, "a pair that does not fit is not taken"
        certificate.write_bytes(other.read_bytes())
        app.reload()
        second = await shown()
        assert second != first
        assert second in other.read_text()


async def test_the_server_renews_its_own_certificate_while_it_runs(tmp_path: Path) -> None:
    clock = ManualClock(round(NOW.timestamp() * 1000))
    settings = Settings(data=str(tmp_path), port=0, log_sync="os", tls="auto")
    async with await App.start(settings, clock=clock) as app:
        address = ("127.0.0.1", int(app.url.rpartition(":")[2]))
        first = await asyncio.to_thread(ssl.get_server_certificate, address)
        clock.advance((certificates.LEAF_DAYS - 29) * 24 * 3600)
        # The hour has passed; the turn of the loop that follows renews.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await asyncio.to_thread(ssl.get_server_certificate, address) != first


async def test_certificates_that_are_brought_along(tmp_path: Path) -> None:
    certificate, key = certificates.ensure(tmp_path / "own", [], dt.datetime.now(dt.UTC))
    brought = {"tls": "files", "tls_certificate": str(certificate), "tls_key": str(key)}
    async with await App.start(Settings(data=str(tmp_path / "data"), port=0, **brought)) as app:
        client = HttpClient(app.url, tls=ssl.create_default_context(cafile=tmp_path / "own" / "ca.pem"))
        assert await client.list_streams() == []
        await client.close()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"tls": "files"}, "needs tls_certificate and tls_key"),
        ({"tls_key": "k"}, 'set tls = "files"'),
        ({"tls": "auto", "tls_key": "k"}, "makes its own certificate"),
        ({"tls": "files", "tls_certificate": "/nowhere.pem", "tls_key": "/nowhere"}, "/nowhere.pem does not exist"),
        ({"tls": "files", "tls_certificate": __file__, "tls_key": __file__}, "are no certificate and its key"),
    ],
)
async def test_what_cannot_be(tmp_path: Path, settings: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        await App.start(Settings(data=str(tmp_path), port=0, **settings))  # type: ignore[arg-type]
