"""Certificates for ``tls = "auto"``: an authority of this data directory's own, and a leaf for this machine's names.

DATA/tls/ca.pem           what clients are told to trust; renewed for the same key long before it ends
DATA/tls/ca-key.pem       its key, readable by the owner only
DATA/tls/server.pem       the leaf and the authority; made anew before it ends, or for other names
DATA/tls/server-key.pem   its key, readable by the owner only
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from streams.core.errors import SettingsError

AUTHORITY_DAYS = 3650
LEAF_DAYS = 397
"""Longer ones are refused by Apple's clients."""

RENEW_DAYS = 30
"""A leaf that ends sooner than this is made anew."""

AUTHORITY_RENEW_DAYS = 3 * LEAF_DAYS
"""An authority that ends sooner than this is renewed: those who trust the old one go on doing so until it ends, since its
key stays, and have years to be given the new one."""

LOCAL = ("localhost", "127.0.0.1", "::1")


def ensure(folder: Path, names: Sequence[str], now: dt.datetime) -> tuple[Path, Path]:
    """The leaf for `names` (beside `LOCAL`) and its key, made where they are missing, old, or for other names.

    Raises `SettingsError` where what lies there cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    certificate, key = folder / "server.pem", folder / "server-key.pem"
    wanted = {*LOCAL, *names}
    try:
        authority, authority_key = _authority(folder, now)
        if not (certificate.exists() and key.exists()) or not _serves(certificate, key, authority, wanted, now):
            leaf, leaf_key = _leaf(authority, authority_key, sorted(wanted), now)
            _write(key, _private(leaf_key), 0o600)
            _write(certificate, _public(leaf) + _public(authority), 0o644)
    except ValueError as error:
        raise SettingsError(
            f"tls: {folder} holds what is no certificate or key of ours ({error}); remove it"
        ) from error
    return certificate, key


def authority_path(folder: Path) -> Path:
    """What clients are told to trust."""
    return folder / "ca.pem"


def _authority(folder: Path, now: dt.datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The key is written first, so a certificate that is missing or another key's is made for the key that is there."""
    certificate, key = authority_path(folder), folder / "ca-key.pem"
    if key.exists():
        private = _private_key(key)
        if certificate.exists():
            held = x509.load_pem_x509_certificate(certificate.read_bytes())
            if held.public_key() == private.public_key() and not _ends(held, now, AUTHORITY_RENEW_DAYS):
                return held, private
    else:
        private = ec.generate_private_key(ec.SECP256R1())
        _write(key, _private(private), 0o600)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Headrace local authority")])
    made = (
        _builder(name, name, private.public_key(), now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .sign(private, hashes.SHA256())
    )
    _write(certificate, _public(made), 0o644)
    return made, private


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    loaded = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path.name} is no elliptic curve key")
    return loaded


def _ends(certificate: x509.Certificate, now: dt.datetime, days: int) -> bool:
    """Whether it ends within so many days."""
    return certificate.not_valid_after_utc - now < dt.timedelta(days=days)


def _leaf(
    authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey, names: Sequence[str], now: dt.datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        _builder(subject, authority.subject, private.public_key(), now, LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return made, private


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))  # clocks of clients differ
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _serves(certificate: Path, key: Path, authority: x509.Certificate, names: set[str], now: dt.datetime) -> bool:
    leaf = x509.load_pem_x509_certificate(certificate.read_bytes())
    if _ends(leaf, now, RENEW_DAYS) or leaf.public_key() != _private_key(key).public_key():
        return False
    try:
        leaf.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    held = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(general.value) for general in held} >= names


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by more than `mode` says, not even for a moment."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
