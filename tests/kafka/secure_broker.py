"""A broker that asks who comes: TLS with a certificate of its own authority, and SASL."""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.certificates import authority_path, ensure
from tests.kafka.kafka_broker import CLUSTER, Broker, free_ports

USER, PASSWORD = "headrace", "it's a secret; really"


class SecureBroker(Broker):
    """`address` takes SASL_SSL (PLAIN and SCRAM); `tls_address` TLS alone, from clients that have a certificate."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (self.tls_port, self._inner_port) = free_ports(2)
        self.certificate, self.key = ensure(folder / "tls", ["127.0.0.1"], dt.datetime.now(dt.UTC))
        self.ca = authority_path(folder / "tls")
        self.client_certificate, self.client_key = _client(folder / "tls")

    @property
    def tls_address(self) -> str:
        return f"127.0.0.1:{self.tls_port}"

    def format(self) -> None:
        store = self.folder / "keystore.pem"
        store.write_text(_pkcs8(self.key.read_bytes()) + self.certificate.read_text())
        module = "org.apache.kafka.common.security"
        plain = f'username="{USER}" password="{PASSWORD}" user_{USER}="{PASSWORD}"'
        self._properties.write_text(
            f"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{self._controller_port}
listeners=SASL_SSL://127.0.0.1:{self.port},SSL://127.0.0.1:{self.tls_port},INNER://127.0.0.1:{self._inner_port},CONTROLLER://127.0.0.1:{self._controller_port}
advertised.listeners=SASL_SSL://127.0.0.1:{self.port},SSL://127.0.0.1:{self.tls_port},INNER://127.0.0.1:{self._inner_port}
listener.security.protocol.map=SASL_SSL:SASL_SSL,SSL:SSL,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=INNER
log.dirs={self.folder / "storage"}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
ssl.keystore.type=PEM
ssl.keystore.location={store}
ssl.truststore.type=PEM
ssl.truststore.location={self.ca}
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config={module}.plain.PlainLoginModule required {plain};
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;
"""
        )
        scram = [f"SCRAM-SHA-{bits}=[name={USER},password={PASSWORD}]" for bits in (256, 512)]
        added = [part for one in scram for part in ("--add-scram", one)]
        subprocess.run(
            self._java(
                *("kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER, "--config", str(self._properties)),
                *added,
            ),
            check=True,
            capture_output=True,
        )


def _client(folder: Path) -> tuple[Path, Path]:
    """A certificate for a client, by the same authority: what `ensure` makes is a server's."""
    authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    authority_key = serialization.load_pem_private_key((folder / "ca-key.pem").read_bytes(), None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, USER)]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    paths = folder / "client.pem", folder / "client-key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def _pkcs8(key: bytes) -> str:
    loaded = serialization.load_pem_private_key(key, None)
    return loaded.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
