"""Settings: one table of names, defaults and meanings that feeds the file, the environment, the options and the docs.

A setting ``log_sync`` is ``log_sync = "always"`` in the TOML file, ``HEADRACE_LOG_SYNC`` in the environment and
``--log-sync`` where a command offers it. The most specific source wins: option, environment, file, default.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from streams.core.brokers import brokers_of
from streams.core.errors import SettingsError
from streams.core.scope import DEFAULT_ACCOUNT, DEFAULT_REGION, Scope

ENVIRONMENT_PREFIX = "HEADRACE_"


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault on purpose, for tests of retries. `operation`, `stream` and `shard` are patterns (``*``, ``?``, ``[…]``).

    `error` is the code of a request error, empty for none; `latency_ms` waits before. With `records`, PutRecords fails
    records of its batch instead, each with the probability.
    """

    operation: str = "*"
    stream: str = "*"
    shard: str = "*"
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0
    error: str = ""
    message: str = ""
    latency_ms: Annotated[int, Meta(ge=0)] = 0
    records: bool = False


class Credential(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who signs with an access key, and what that caller may do: what `policies` (names of policies) say, or everything
    where there is none.

    With a `token` the key is temporary: requests carry the token, until `expires`. `requests_per_s` and `mib_per_s` (of
    request bodies) are the most that the caller may ask, with a second's worth at once after a pause.
    """

    secret: Annotated[str, Meta(min_length=1)]
    user: str = ""
    account: Annotated[str, Meta(pattern=r"^(\d{12})?$")] = ""
    policies: tuple[str, ...] | None = None
    token: str = ""
    expires: datetime | None = None
    requests_per_s: Annotated[float, Meta(gt=0)] | None = None
    mib_per_s: Annotated[float, Meta(gt=0)] | None = None


class Permission(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A statement of a policy: `actions` (``kinesis:PutRecord*``) on `resources` (patterns of ARNs) are allowed, or denied,
    which wins."""

    actions: tuple[str, ...]
    resources: tuple[str, ...] = ("*",)
    effect: Literal["allow", "deny"] = "allow"


class FunctionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A function from a `directory` or a `zip` archive, where `handler` is ``module.function`` in it; one that runs
    elsewhere: behind a `url` that takes events by POST, or under an `arn` at AWS or another Lambda `endpoint`; or one over
    records that is a statement: a `sql` SELECT over `columns` (DuckDB's types), a `jq` program, or `steps`, the names of
    other functions in their order.

    `timeout_s` 0 is the setting function_timeout_s; `memory_mb` is what it may use, and `scratch_mb` what it may keep in
    its temporary directory. `environment` are its environment variables. `runtime` is ``python``, or ``provided`` for an
    executable ``bootstrap`` that speaks Lambda's Runtime API.
    """

    directory: str = ""
    zip: str = ""
    url: Annotated[str, Meta(pattern=r"^(https?://.+)?$")] = ""
    arn: Annotated[str, Meta(pattern=r"^(arn:aws[a-zA-Z-]*:lambda:[a-z0-9-]+:\d{12}:function:.+)?$")] = ""
    endpoint: Annotated[str, Meta(pattern=r"^(https?://.+)?$")] = ""
    sql: str = ""
    columns: str = ""
    jq: str = ""
    steps: tuple[str, ...] = ()
    handler: str = ""
    runtime: Annotated[str, Meta(pattern=r"^(python|provided)")] = "python"
    timeout_s: Annotated[float, Meta(ge=0, le=900)] = 0
    memory_mb: Annotated[int, Meta(ge=128, le=10240)] = 4096
    scratch_mb: Annotated[int, Meta(ge=1, le=10240)] = 512
    environment: dict[str, str] = {}


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting, typed and bounded. Unit and qualifier stand last in a name."""

    host: Annotated[str, Meta(description="Address to listen on. Other than loopback needs credentials.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 4567
    data: Annotated[str, Meta(description="Data directory: the log, the catalog, delivered files.")] = "headrace-data"
    account: Annotated[str, Meta(pattern=r"^\d{12}$", description="AWS account id that resources belong to.")] = (
        DEFAULT_ACCOUNT
    )
    region: Annotated[str, Meta(description="Region of callers whose signature names none.")] = DEFAULT_REGION
    credentials: Annotated[
        dict[str, str | Credential],
        Meta(
            description="Access key id → secret key of a caller who may do everything, or a table: secret, user, account, policies, token, expires, requests_per_s, mib_per_s. Empty: signatures are not checked."
        ),
    ] = {}
    policies: Annotated[
        dict[str, tuple[Permission, ...]],
        Meta(
            description="Policy name → statements, tables of actions, resources (patterns), effect ('allow', 'deny')."
        ),
    ] = {}
    credentials_file: Annotated[
        str, Meta(description="TOML file of more credentials and policies, read again on SIGHUP and when it changes.")
    ] = ""

    tls: Annotated[
        Literal["off", "files", "auto"],
        Meta(
            description="'files': tls_certificate and tls_key. 'auto': a certificate for this machine, and the authority that signs it, made in the data directory."
        ),
    ] = "off"
    tls_certificate: Annotated[str, Meta(description="PEM file of the certificate, and of those that sign it.")] = ""
    tls_key: Annotated[str, Meta(description="PEM file of the certificate's key.")] = ""

    metrics_open: Annotated[
        bool, Meta(description="Whether other machines may read /metrics where callers need credentials.")
    ] = False

    log_format: Annotated[
        Literal["text", "json"],
        Meta(description="How stderr is written: lines for people, or JSON objects, a line each."),
    ] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least severe that is written to stderr.")
    ] = "warning"

    log: Annotated[
        str,
        Meta(
            description="Where the log is: empty for the data directory, or kafka://host:9092,host:9092/prefix for Apache Kafka, which any number of headraces may share."
        ),
    ] = ""
    work: Annotated[
        bool,
        Meta(
            description="Whether this process takes its share of the work, where processes share the log: delivery streams, SQL applications, queues, consumer groups. false: it takes records and answers requests."
        ),
    ] = True
    work_session_s: Annotated[
        float,
        Meta(
            ge=1,
            le=300,
            description="How long a process that shares the log may be silent before others take over its work, seconds. Brokers allow 6 to 1,800 (group.min.session.timeout.ms).",
        ),
    ] = 10.0
    advertise: Annotated[
        str,
        Meta(
            description="URL at which other processes that share the log reach this one; empty: this machine's address on the way to the brokers, and port."
        ),
    ] = ""
    depot: Annotated[
        str,
        Meta(
            description="Where processes that share the log keep what another may have to go on with, staged objects and states of SQL applications: a folder or fsspec URL that all of them reach. Empty: in the log."
        ),
    ] = ""
    log_sync: Annotated[
        Literal["always", "interval", "os"],
        Meta(
            description="When appends reach the disk: before each reply, every log_sync_interval_ms, or when the OS likes."
        ),
    ] = "always"
    log_sync_interval_ms: Annotated[int, Meta(ge=1, description="Period of log_sync = 'interval', ms.")] = 50
    log_segment_size_max: Annotated[
        int, Meta(ge=1 << 16, description="Bytes after which a shard begins a new segment file.")
    ] = 128 << 20
    log_pending_size_max: Annotated[
        int,
        Meta(
            ge=1 << 20,
            description="Bytes of appends that may wait for the disk before producers are told to slow down.",
        ),
    ] = 256 << 20
    log_compress: Annotated[
        bool, Meta(description="Whether segment files are compressed, in the background, once they grow no more.")
    ] = True
    log_tier_url: Annotated[
        str,
        Meta(
            description="Where segment files move once they are old: a folder, or a URL that fsspec knows (s3://bucket/prefix). Empty: nowhere."
        ),
    ] = ""
    log_tier_after_h: Annotated[float, Meta(ge=0, description="Age at which records move to log_tier_url, hours.")] = (
        24.0
    )
    log_tier_cache_size_max: Annotated[
        int, Meta(ge=0, description="Bytes of what was read from log_tier_url that are kept in the data directory.")
    ] = 1 << 30
    encryption_key: Annotated[
        str,
        Meta(
            description="What the log is encrypted with on disk: 32 bytes in base64, or file:PATH of a file that holds them. Empty: not at all."
        ),
    ] = ""
    encryption_keys_old: Annotated[
        tuple[str, ...], Meta(description="Keys that were encryption_key before: what they sealed is read with them.")
    ] = ()
    retention_check_s: Annotated[
        float, Meta(gt=0, description="How often expired records are looked for, seconds.")
    ] = 60.0

    create_ms: Annotated[int, Meta(ge=0, description="How long a new stream stays CREATING, ms.")] = 0
    delete_ms: Annotated[int, Meta(ge=0, description="How long a deleted stream stays DELETING, ms.")] = 0
    update_ms: Annotated[int, Meta(ge=0, description="How long a changed stream stays UPDATING, ms.")] = 0
    subscription_s: Annotated[float, Meta(gt=0, description="How long a SubscribeToShard lasts, seconds.")] = 300.0
    shards_max: Annotated[int, Meta(ge=1, description="Open shards that one account may have in a region.")] = 20_000
    on_demand_streams_max: Annotated[
        int, Meta(ge=1, description="On-demand streams that one account may have in a region.")
    ] = 10_000

    limits: Annotated[
        Literal["none", "aws"],
        Meta(description="'aws' throttles shards and accounts as AWS does; 'none' lets everything through that fits."),
    ] = "none"
    faults: Annotated[
        tuple[Fault, ...],
        Meta(
            description="Faults on purpose: tables of operation, stream, shard (patterns), probability, error, latency_ms, records."
        ),
    ] = ()
    faults_seed: Annotated[int, Meta(description="Seed of the faults' dice: the same calls fail in the same way.")] = 0

    body_size_max: Annotated[int, Meta(ge=1 << 20, description="Bytes of one request's body.")] = 64 << 20
    body_timeout_s: Annotated[
        float, Meta(gt=0, description="How long a request's body may take to arrive, seconds.")
    ] = 60.0

    buckets: Annotated[
        dict[str, str],
        Meta(
            description="Bucket name → fsspec URL. A bucket that is not named is the folder buckets/NAME of the data directory."
        ),
    ] = {}
    kafka_clusters: Annotated[
        dict[str, str],
        Meta(
            description="ARN of a Kafka cluster (MSK) → where its brokers are, kafka://host:9092,host:9092?security=…: what delivery streams and applications mean that name topics of it."
        ),
    ] = {}
    functions: Annotated[
        dict[str, str | FunctionSettings],
        Meta(
            description="Function name → what its ARN runs: 'package.module:function' or 'path/file.py:function', or a table: directory or zip, handler, runtime, timeout_s, memory_mb, scratch_mb, environment; or url; or arn, endpoint."
        ),
    ] = {}
    function_api: Annotated[
        bool,
        Meta(
            description="Whether callers may bring code: create, change and call functions with Lambda's API, and write functions of SQL applications in Python. It has the server's rights."
        ),
    ] = True
    firehose_retry_s: Annotated[
        float, Meta(gt=0, description="First pause after a failed delivery, seconds; it doubles.")
    ] = 1.0
    firehose_memory_max: Annotated[
        int, Meta(ge=16 << 20, description="Bytes that all delivery streams together buffer; beyond it they wait.")
    ] = 256 << 20
    firehose_partitions_max: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Active partitions of one delivery stream; records of others go to the error output. More than AWS's 500 wait on disk where memory is short.",
        ),
    ] = 500
    firehose_spill_max: Annotated[
        int,
        Meta(
            ge=64 << 20,
            description="Bytes that all delivery streams together keep on disk of partitions that wait; beyond it they are delivered.",
        ),
    ] = 4 << 30
    firehose_compat: Annotated[
        Literal["aws", "emulator"],
        Meta(description="'emulator' does what tests written for emulators of AWS expect: docs/firehose.md lists it."),
    ] = "aws"
    application_memory_max: Annotated[
        int, Meta(ge=512 << 20, description="Bytes of memory that the process of one SQL application may take.")
    ] = 2 << 30
    firehose_delimiter: Annotated[
        Literal["after", "between"],
        Meta(description="Where AppendDelimiterToRecord puts its line feed: after each record, or between records."),
    ] = "after"
    function_timeout_s: Annotated[
        float, Meta(gt=0, le=900, description="How long one call of a function may take, seconds.")
    ] = 60.0

    @property
    def scope(self) -> Scope:
        """The scope of callers that name none."""
        return Scope(self.account, self.region)

    @property
    def data_path(self) -> Path:
        return Path(self.data)


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings in force. `options` that are None were not given. Raises `SettingsError`: which setting, from where, and
    what would be right."""
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values |= tomllib.loads(file.read_text())
        except FileNotFoundError as error:
            raise SettingsError(f"settings file {file} does not exist") from error
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"settings file {file} is not TOML: {error}") from error
    names = Settings.__struct_fields__
    for name in names:
        text = environment.get(ENVIRONMENT_PREFIX + name.upper())
        if text is not None:
            values[name] = _from_environment(name, text)
    values |= {name: value for name, value in (options or {}).items() if value is not None}
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise SettingsError(f"unknown setting {unknown[0]!r}; the settings are {', '.join(names)}")
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"settings: {error}") from error
    for arn, url in settings.kafka_clusters.items():
        try:
            brokers_of(url)
        except SettingsError as error:
            raise SettingsError(f"kafka_clusters: {arn}: {error.message}") from error
    return settings


def _from_environment(name: str, text: str) -> Any:
    """Text as it is, but tables, which are written as JSON."""
    if not text.startswith(("{", "[")):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise SettingsError(f"{ENVIRONMENT_PREFIX}{name.upper()} is not JSON: {error}") from error
