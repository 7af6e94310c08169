"""A log behind TLS and SASL, on a real broker that asks for both; and what is said where it does not let us in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.core.errors import LogUnreachable, SettingsError
from streams.kafka.address import parse
from streams.kafka.log import KafkaLog
from tests.kafka.secure_broker import PASSWORD, USER, SecureBroker
from tests.log.engines import read_all, records

SHARD = "streams/8c1f/shardId-000000000000"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    folder = tmp_path_factory.mktemp("secure")
    broker = SecureBroker(folder)
    broker.start()
    (folder / "password").write_text(PASSWORD + "\n")
    (folder / "wrong").write_text("something else")
    yield broker
    broker.kill()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", ""])
async def test_a_log_is_written_and_read_by_who_may(
    broker: SecureBroker, mechanism: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("KAFKA_SECRET", PASSWORD)
    caplog.set_level(logging.DEBUG)
    prefix = mechanism.lower() or "default"
    url = f"kafka://{broker.address}/{prefix}?security=sasl_ssl&user={USER}&password=env:KAFKA_SECRET&ca={broker.ca}"
    url += f"&mechanism={mechanism}" if mechanism else ""
    log = await KafkaLog.open(parse(url))
    await log.create(SHARD)
    await log.append(SHARD, records([("k", b"1"), ("k", b"2")]))
    assert await read_all(log, SHARD) == [("k", b"1"), ("k", b"2")]
    await log.wait(SHARD, 1)
    await log.close()
    assert PASSWORD not in caplog.text
    assert PASSWORD not in repr(parse(url))


async def test_a_certificate_of_ours_is_shown(broker: SecureBroker) -> None:
    options = f"security=ssl&ca={broker.ca}&certificate={broker.client_certificate}&key={broker.client_key}"
    log = await KafkaLog.open(parse(f"kafka://{broker.tls_address}/tls?{options}"))
    await log.create(SHARD)
    assert await log.append(SHARD, records([("k", b"1")])) == 0
    await log.close()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("security=sasl_ssl&user=headrace&password=file:{folder}/wrong&ca={ca}", "does not know user 'headrace'"),
        ("security=sasl_ssl&user=nobody&password=file:{folder}/password&ca={ca}", "does not know user 'nobody'"),
        ("security=sasl_ssl&user=headrace&password=file:{folder}/password", "TLS fails: .*CERTIFICATE_VERIFY_FAILED"),
    ],
)
async def test_who_is_not_let_in_is_told_why(
    broker: SecureBroker, options: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"kafka://{broker.address}/p?" + options.format(folder=broker.folder, ca=broker.ca)
    with pytest.raises(LogUnreachable, match=why):
        await KafkaLog.open(parse(url))
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("security=tls", "security is one of plaintext, ssl, sasl_plaintext, sasl_ssl"),
        ("user=a&password=env:X", "a user needs security=sasl_ssl"),
        ("ca=/ca.pem", "certificates need security=ssl"),
        ("security=ssl&key=/k.pem", "certificate and key go together"),
        ("security=sasl_ssl&user=a", "needs user and password"),
        ("security=sasl_ssl&user=a&password=hunter2", "a password is not written here"),
        ("security=sasl_ssl&user=a&password=env:X&mechanism=MD5", "mechanism is one of PLAIN"),
    ],
)
def test_what_does_not_go_together_is_said_and_no_secret_with_it(options: str, why: str) -> None:
    with pytest.raises(SettingsError, match="setting log = ") as error:
        parse(f"kafka://k:9092?{options}")
    assert why in error.value.message
    assert "hunter2" not in error.value.message


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("security=ssl&ca=/not/there.pem", "/not/there.pem, cannot be used"),
        ("security=sasl_ssl&user=a&password=env:NOT_SET_ANYWHERE", "variable NOT_SET_ANYWHERE, which is not set"),
        ("security=sasl_ssl&user=a&password=file:/not/there", "/not/there, which cannot be read"),
    ],
)
async def test_what_is_not_there_is_named(options: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=why):
        await KafkaLog.open(parse(f"kafka://127.0.0.1:1?{options}"))
