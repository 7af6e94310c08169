"""Service models: AWS's own description of operations and shapes, read from botocore's data once per service.

Only what the protocols need is kept: operations with their input and output, and shapes with their constraints.

`SHIPPED` holds models, in botocore's layout and without their prose, that are newer than those of the oldest botocore
that we run with: libraries that pin an older one (aiobotocore, and with it s3fs) must not take operations away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from botocore.loaders import Loader

RELAXED: dict[str, str] = {
    "HttpEndpointUrl": "https?://.*",  # Firehose: plain HTTP is for the service to refuse, which knows where it runs
}
"""Shapes whose pattern is wider here than AWS's."""

Kind = Literal[
    "structure", "list", "map", "string", "blob", "boolean", "integer", "long", "float", "double", "timestamp"
]

EMPTY: dict[str, Any] = {}

SHIPPED = Path(__file__).parent / "models"
"""A boto3 session whose ``data_path`` names this folder knows all operations, whatever botocore it runs on."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One shape. `members` are a structure's by wire name; `element` is what a list or a map holds, `key` a map's keys.

    `min` and `max` bound the length of strings (characters), blobs (bytes), lists and maps (entries), and the value of
    numbers. `pattern` is Java's and must match the whole string. `eventstream` marks what is streamed, not encoded,
    `sensitive` what no message may repeat.
    """

    name: str
    kind: Kind
    members: dict[str, Shape] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    element: Shape | None = None
    key: Shape | None = None
    min: int | float | None = None
    max: int | float | None = None
    pattern: str | None = None
    enum: tuple[str, ...] = ()
    eventstream: bool = False
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class RestBinding:
    """Where the members of a REST operation stand: by member, ``(uri | querystring | header | statusCode, name)``, all
    others in the JSON body, but the payload, which is the body."""

    method: str
    uri: str
    status: int
    sources: dict[str, tuple[str, str]]
    payload: str | None
    targets: dict[str, tuple[str, str]]
    answer_payload: str | None


@dataclass(frozen=True, slots=True)
class Operation:
    """`input` and `output` are structures; an operation that answers nothing has no output. `rest` is for protocols whose
    operations are methods and paths."""

    name: str
    input: Shape
    output: Shape | None
    rest: RestBinding | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A service: its operations by name, the prefix of X-Amz-Target that it answers to, and the Java package whose class
    names show in AWS's messages. `capital_messages` are the errors that spell their text's member ``Message``."""

    service: str
    target_prefix: str
    java_package: str
    operations: dict[str, Operation]
    capital_messages: frozenset[str] = frozenset()


TIGHTER = {"lambda": {"Timeout": 900, "MemorySize": 10_240}}
"""Most of a value, where the model knows of kinds of resources that have more and that are not offered."""


@cache
def load(service: str) -> Model:
    """The model of `service` with the most operations: botocore's own, or the one in `SHIPPED`. Raises botocore's
    UnknownServiceError for a name that both lack."""
    raw = max(_models(service), key=lambda model: len(model["operations"]))
    for name, most in TIGHTER.get(service, EMPTY).items():
        raw["shapes"][name]["max"] = most
    shapes = _Shapes(raw["shapes"])
    metadata = raw["metadata"]
    rest = metadata["protocol"].startswith("rest-")
    operations = {}
    for name, operation in raw["operations"].items():
        output = shapes.get(operation["output"]["shape"]) if "output" in operation else None
        source = shapes.get(operation["input"]["shape"]) if "input" in operation else Shape(f"{name}Input", "structure")
        operations[name] = Operation(name, source, output, _binding(raw, operation) if rest else None)
    package = f"com.amazonaws.{service}.v{metadata['apiVersion'].replace('-', '')}"
    capital = frozenset(
        name for name, shape in raw["shapes"].items() if shape.get("exception") and "Message" in shape["members"]
    )
    return Model(service, metadata.get("targetPrefix", ""), package, operations, capital)


def _binding(raw: dict[str, Any], operation: dict[str, Any]) -> RestBinding:
    def places(direction: str) -> tuple[dict[str, tuple[str, str]], str | None]:
        shape = raw["shapes"][operation[direction]["shape"]] if direction in operation else EMPTY
        found = {
            member: (one["location"], one.get("locationName", member))
            for member, one in shape.get("members", EMPTY).items()
            if "location" in one
        }
        return found, shape.get("payload")

    http = operation["http"]
    return RestBinding(
        http["method"], http["requestUri"], http.get("responseCode", 200), *places("input"), *places("output")
    )


def _models(service: str) -> list[dict[str, Any]]:
    """botocore's, which wins where both are as large, and ours where there is one."""
    models = [_read(service, Loader.BUILTIN_DATA_PATH)]
    if (SHIPPED / service).is_dir():
        models.append(_read(service, str(SHIPPED)))
    return models


def _read(service: str, folder: str) -> dict[str, Any]:
    loader = Loader(extra_search_paths=[folder], include_default_search_paths=False)
    model: dict[str, Any] = loader.load_service_model(service, "service-2")
    return model


class _Shapes:
    """Raw shapes by name → `Shape`, each built once. A shape that holds itself refers to itself."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self._raw = raw
        self._built: dict[str, Shape] = {}

    def get(self, name: str) -> Shape:
        built = self._built.get(name)
        if built is not None:
            return built
        raw = self._raw[name]
        kind = raw["type"]
        members: dict[str, Shape] = {}
        shape = Shape(
            name,
            kind,
            members=members,
            required=tuple(raw.get("required", ())),
            min=raw.get("min"),
            max=raw.get("max"),
            pattern=RELAXED.get(name, raw.get("pattern")),
            enum=tuple(raw.get("enum", ())),
            eventstream=raw.get("eventstream", False),
            sensitive=raw.get("sensitive", False),
        )
        self._built[name] = shape
        for member, reference in raw.get("members", EMPTY).items():
            members[member] = self.get(reference["shape"])
        inner = raw.get("member") or raw.get("value")
        if inner is not None:
            object.__setattr__(shape, "element", self.get(inner["shape"]))
        if "key" in raw:
            object.__setattr__(shape, "key", self.get(raw["key"]["shape"]))
        return shape
