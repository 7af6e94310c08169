"""Kafka's brokers: where they are and how they are reached, with TLS, and who we say that we are.

brokers    = "kafka://" broker *("," broker) ["/"…] ["?" security *("&" security)]
broker     = host ":" port

security   = "security=" ( "plaintext" / "ssl" / "sasl_plaintext" / "sasl_ssl" )
           / "mechanism=" ( "PLAIN" / "SCRAM-SHA-256" / "SCRAM-SHA-512" )    ; SCRAM-SHA-512 where it is not said
           / "user=" name
           / "password=" ( "env:" variable / "file:" path )
           / "ca=" path                    ; PEM: who signs the brokers' certificates; the machine's own list without it
           / "certificate=" path / "key=" path                               ; PEM: ours, where brokers ask for one

A password is never written in the address, so the address may be logged and shown: it says where the password is.
"""

from __future__ import annotations

import logging
import os
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from streams.core.errors import SettingsError

PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
_BROKER = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s:/@\[\]]+):(\d{1,5})")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class Security:
    """`password` says where it is: ``env:NAME`` or ``file:PATH``."""

    protocol: str = "plaintext"
    mechanism: str = ""
    user: str = ""
    password: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""

    @property
    def tls(self) -> bool:
        return self.protocol.endswith("ssl")

    @property
    def sasl(self) -> bool:
        return self.protocol.startswith("sasl")


PLAINTEXT = Security()


@dataclass(frozen=True, slots=True)
class Brokers:
    """`hosts` as ``host:port``: any of a cluster's, of which the others are learnt."""

    hosts: tuple[str, ...]
    security: Security = PLAINTEXT

    def __str__(self) -> str:
        return ",".join(self.hosts)

    def options(self, client: str = "headrace") -> dict[str, Any]:
        """What aiokafka's clients take to reach them; `client` is how brokers name the caller in their logs. Raises
        `SettingsError` where a file or a variable is not there."""
        return {"bootstrap_servers": list(self.hosts), "client_id": client, **connection_options(self.security)}


def brokers_of(url: str) -> Brokers:
    """Raises `SettingsError`."""
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        if parts.scheme != "kafka" or parts.path.strip("/"):
            raise ValueError("it is written kafka://host:9092,host:9092?security=…")
        hosts = hosts_of(parts.netloc)
        security = security_of(options)
        if options:
            raise ValueError(f"unknown option {next(iter(options))!r}")
    except ValueError as error:
        raise SettingsError(f"the brokers {shown(url)!r}: {error}") from error
    return Brokers(hosts, security)


def hosts_of(text: str) -> tuple[str, ...]:
    """Raises `ValueError`."""
    hosts = tuple(text.split(","))
    for host in hosts:
        if not _BROKER.fullmatch(host):
            raise ValueError(f"{shown(host)!r} is not host:port")
    return hosts


def shown(text: str) -> str:
    """Without a secret that somebody has put where it does not belong."""
    text = re.sub(r"(password=)(?!env:|file:)[^&]*", r"\1…", text)
    return re.sub(r"^(\w+://)?[^/?]*@", r"\1…@", text)


def security_of(options: dict[str, str]) -> Security:
    """Takes what is said of it out of the options of an address. Raises `ValueError`."""
    protocol = options.pop("security", "plaintext").lower()
    if protocol not in PROTOCOLS:
        raise ValueError(f"security is one of {', '.join(PROTOCOLS)}, not {protocol!r}")
    names = ("mechanism", "user", "password", "ca", "certificate", "key")
    said = {name: options.pop(name) for name in names if name in options}
    found = Security(protocol, **said)
    if not found.sasl and (said.keys() & {"mechanism", "user", "password"}):
        raise ValueError("a user needs security=sasl_ssl, or sasl_plaintext where nobody else hears the network")
    if not found.tls and (said.keys() & {"ca", "certificate", "key"}):
        raise ValueError("certificates need security=ssl or sasl_ssl")
    if bool(found.certificate) != bool(found.key):
        raise ValueError("certificate and key go together")
    if not found.sasl:
        return found
    if not found.user or not found.password:
        raise ValueError(f"security={protocol} needs user and password")
    if not found.password.startswith(("env:", "file:")):
        raise ValueError("a password is not written here: password=env:NAME or password=file:PATH says where it is")
    mechanism = found.mechanism.upper() or MECHANISMS[-1]
    if mechanism not in MECHANISMS:
        raise ValueError(f"mechanism is one of {', '.join(MECHANISMS)}, not {found.mechanism!r}")
    return Security(protocol, mechanism, **{name: said[name] for name in said if name != "mechanism"})


def connection_options(security: Security) -> dict[str, Any]:
    """What aiokafka's clients take. Raises `SettingsError` where a file or a variable is not there."""
    if security == PLAINTEXT:
        return {}
    options: dict[str, Any] = {"security_protocol": security.protocol.upper()}
    if security.tls:
        options["ssl_context"] = _context(security)
    if security.sasl:
        logging.getLogger("aiokafka.conn").addFilter(_tells_no_password)
        options["sasl_mechanism"] = security.mechanism
        options["sasl_plain_username"] = security.user
        options["sasl_plain_password"] = _password(security.password)
    return options


def _tells_no_password(record: logging.LogRecord) -> bool:
    """aiokafka writes requests down where it is told to debug, and the one that logs in holds the password."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    return not any(type(one).__name__.startswith("SaslAuthenticateRequest") for one in arguments)


def _context(security: Security) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=security.ca or None)
        if security.certificate:
            context.load_cert_chain(security.certificate, security.key)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(filter(None, (security.ca, security.certificate, security.key)))
        raise SettingsError(f"the certificates of Kafka, {files}, cannot be used: {error}") from error
    return context


def _password(where: str) -> str:
    kind, _, name = where.partition(":")
    if kind == "env":
        if name not in os.environ:
            raise SettingsError(f"Kafka's password is to be in the variable {name}, which is not set")
        return os.environ[name]
    try:
        return Path(name).read_text().rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"Kafka's password is to be in {name}, which cannot be read: {error.strerror}") from error
