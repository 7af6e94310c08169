"""The server that a command talks to: shared options, the clients, and what is said when it does not answer."""

from __future__ import annotations

import contextlib
import difflib
import functools
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from gateway.cli.failure import Failure
from streams.core.errors import ResourceNotFound
from streams.core.scope import DEFAULT_REGION, Scope
from streams.sdk.client import Client

if TYPE_CHECKING:
    from streams.sdk.http import HttpClient

DEFAULT_ENDPOINT = "http://127.0.0.1:4567"
_SUGGESTIONS_MAX = 3


@dataclass(frozen=True, slots=True)
class Target:
    """A server, the region to act in, and whether the command writes for programs."""

    endpoint: str
    region: str
    json: bool
    ca: str | None = None

    @property
    def down(self) -> Failure:
        """What to say when nobody listens."""
        port = urlsplit(self.endpoint).port
        start = "headrace serve" if port in (None, 4567) else f"headrace serve --port {port}"
        return Failure(f"no server answers at {self.endpoint}", hint=f"start one with: {start}")

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A client on the native door, closed in the end."""
        async with self.http() as client:
            yield client

    @contextlib.asynccontextmanager
    async def http(self) -> AsyncIterator[HttpClient]:
        """The same, with what only a server has."""
        from streams.sdk.http import HttpClient

        credentials = aws_credentials()
        client = HttpClient(self.endpoint, scope=Scope(region=self.region), credentials=credentials, tls=self._tls())
        try:
            yield client
        finally:
            await client.close()

    def _tls(self) -> ssl.SSLContext | None:
        if self.ca is None:
            return None
        try:
            return ssl.create_default_context(cafile=self.ca)
        except (ssl.SSLError, OSError) as error:
            raise Failure(f"{self.ca} holds no certificates (PEM): {error}") from error

    def aws(self, service: str) -> Any:
        """A botocore client of an AWS service, pointed at the server."""
        import botocore.config
        import botocore.session

        key, secret, token = aws_credentials() or ("headrace", "headrace", "")
        return botocore.session.get_session().create_client(
            service,
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token or None,
            verify=self.ca,
            config=botocore.config.Config(retries={"total_max_attempts": 1}, connect_timeout=5),
        )


def aws_credentials() -> tuple[str, str, str] | None:
    """Access key id, secret key and token (empty for keys that stay), from where AWS's own tools take them; None where there are none."""
    import botocore.session

    found = botocore.session.get_session().get_component("credential_provider")
    for provider in found.providers:
        if provider.METHOD in ("env", "shared-credentials-file", "config-file"):
            loaded = provider.load()
            if loaded is not None:
                return loaded.access_key, loaded.secret_key, loaded.token or ""
    return None


def connected(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that talks to a server; the command gets a `Target` as its first argument."""

    @click.option(
        "--endpoint",
        envvar="HEADRACE_ENDPOINT",
        show_envvar=True,
        default=DEFAULT_ENDPOINT,
        show_default=True,
        metavar="URL",
        help="The server.",
    )
    @click.option(
        "--region",
        envvar=["HEADRACE_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"],
        show_envvar=True,
        default=DEFAULT_REGION,
        show_default=True,
        help="The region to act in.",
    )
    @click.option(
        "--ca",
        envvar=["HEADRACE_CA", "AWS_CA_BUNDLE"],
        show_envvar=True,
        type=click.Path(dir_okay=False),
        help="Certificates to trust (PEM), for a server with TLS: DATA/tls/ca.pem of one with --tls auto.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Write JSON for programs, not tables for people.")
    @functools.wraps(command)
    def wrapped(endpoint: str, region: str, ca: str | None, as_json: bool, **options: Any) -> Any:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise click.BadParameter(f"{endpoint!r} is not a URL like {DEFAULT_ENDPOINT}", param_hint="--endpoint")
        return command(Target(endpoint.rstrip("/"), region, as_json, ca), **options)

    return wrapped


async def find_stream(client: Client, stream: str) -> Any:
    """The stream's description. Raises `Failure` with the names that look alike where there is none."""
    if not stream:
        raise Failure("the name of a stream is missing")
    try:
        return await client.describe_stream(stream)
    except ResourceNotFound as error:
        alike = difflib.get_close_matches(stream, await client.list_streams(), _SUGGESTIONS_MAX)
        if alike:
            hint = f"did you mean {' or '.join(alike)}?"
        else:
            hint = f"headrace stream list shows what there is; headrace stream create {stream} makes it"
        raise Failure(f"there is no stream {stream!r}", hint=hint) from error
