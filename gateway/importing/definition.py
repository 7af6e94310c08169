"""What a definition says, whatever its language: applications in the API's words, the streams beside them, and what was
not understood."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from streams.core.errors import ValidationError
from streams.core.scope import Scope

_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):(?P<service>[a-z0-9-]+):(?P<region>[^:]*):(?P<account>[^:]*):(?P<rest>.+)"
)
_REGIONLESS = frozenset({"iam", "s3"})
_SOURCES = {"KinesisStreamsInput": "stream", "KinesisFirehoseInput": "delivery stream"}
_TARGETS = {
    "KinesisStreamsOutput": "stream",
    "KinesisFirehoseOutput": "delivery stream",
    "LambdaOutput": "function",
}


@contextlib.contextmanager
def understanding(resource: str) -> Iterator[None]:
    """Raises `ValidationError` where the resource is not of the form that its kind has."""
    try:
        yield
    except KeyError as error:
        raise ValidationError(f"{resource}: the property {error.args[0]} is missing") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise ValidationError(f"{resource}: a property is not of its kind: {error}") from error


@dataclass(slots=True)
class Definition:
    """An application; inputs, outputs and references are the API's structures. `position` is where it is to start, where
    the definition says that it runs."""

    name: str
    code: str = ""
    description: str | None = None
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    references: list[dict[str, Any]] = field(default_factory=list)
    position: str | None = None

    def lines(self) -> list[str]:
        """What was understood, for people. Raises `ValidationError`."""
        with understanding(f"application {self.name}"):
            return self._lines()

    def _lines(self) -> list[str]:
        count = len([line for line in self.code.splitlines() if line.strip()])
        told = [f"application {self.name}: {_many(count, 'line')} of SQL"]
        for given in self.inputs:
            many = given.get("InputParallelism", {}).get("Count", 1)
            names = f"{given['NamePrefix']}_001" + (f" to _{many:03d}" if many > 1 else "")
            schema = given["InputSchema"]
            kind = schema.get("RecordFormat", {}).get("RecordFormatType", "?")
            through = ""
            if "InputProcessingConfiguration" in given:
                arn = given["InputProcessingConfiguration"]["InputLambdaProcessor"]["ResourceARN"]
                through = f", through function {_last(arn)}"
            columns = len(schema.get("RecordColumns", []))
            told.append(f"  input {names} from {_place(given, _SOURCES)}: {kind}, {_many(columns, 'column')}{through}")
        for given in self.references:
            where = given["S3ReferenceDataSource"]
            told.append(f"  reference table {given['TableName']} from {_last(where['BucketARN'])}/{where['FileKey']}")
        for given in self.outputs:
            kind = given.get("DestinationSchema", {}).get("RecordFormatType", "?")
            told.append(f"  output {given['Name']} to {_place(given, _TARGETS)} as {kind}")
        if self.position is not None:
            told.append(f"  runs, from {self.position}")
        return told

    def functions(self) -> list[str]:
        """Names of the functions that it needs."""
        arns = [
            given["InputProcessingConfiguration"]["InputLambdaProcessor"]["ResourceARN"]
            for given in self.inputs
            if "InputProcessingConfiguration" in given
        ]
        arns += [given["LambdaOutput"]["ResourceARN"] for given in self.outputs if "LambdaOutput" in given]
        return [_last(arn) for arn in arns]


@dataclass(slots=True)
class Understood:
    """`streams`: name → shards, of those that the file defines, and `delivery_streams`: name → members of
    CreateDeliveryStream. `notes` say what was left out, or guessed."""

    applications: list[Definition] = field(default_factory=list)
    streams: dict[str, int] = field(default_factory=dict)
    delivery_streams: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What was understood, for people. Raises `ValidationError`."""
        told = [line for definition in self.applications for line in definition.lines()]
        told += [f"stream {name}: {_many(shards, 'shard')}" for name, shards in self.streams.items()]
        told += [f"delivery stream {name}" for name in self.delivery_streams]
        return told + [f"note: {note}" for note in dict.fromkeys(self.notes)]


def rehomed(value: Any, scope: Scope) -> Any:
    """The same with every ARN in the account and region of `scope`: what was somewhere else is here now."""
    if isinstance(value, dict):
        return {key: rehomed(inner, scope) for key, inner in value.items()}
    if isinstance(value, list):
        return [rehomed(inner, scope) for inner in value]
    found = _ARN.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    service = found["service"]
    region = "" if service in _REGIONLESS else scope.region
    account = "" if service == "s3" else scope.account
    return f"arn:aws:{service}:{region}:{account}:{found['rest']}"


def with_roles(given: dict[str, Any], scope: Scope) -> dict[str, Any]:
    """A structure of the second API, or one whose role is not known, as the first has it."""
    role = f"arn:aws:iam::{scope.account}:role/headrace"
    made: dict[str, Any] = {}
    for key, value in given.items():
        made[key] = with_roles(value, scope) if isinstance(value, dict) else value
    if "ResourceARN" in made:
        made["RoleARN"] = role
    if "BucketARN" in made:
        made["ReferenceRoleARN"] = role
    return made


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _place(given: dict[str, Any], among: dict[str, str]) -> str:
    for member, kind in among.items():
        if member in given:
            return f"{kind} {_last(given[member]['ResourceARN'])}"
    return "nowhere"


def _last(arn: str) -> str:
    """The name in an ARN."""
    if ":function:" in arn:
        return arn.partition(":function:")[2].partition(":")[0]
    return re.split(r"[:/]", arn)[-1]
