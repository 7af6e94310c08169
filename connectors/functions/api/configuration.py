"""What a caller says about a function, checked; what is answered about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from connectors.functions.api.errors import InvalidParameterValue, not_offered
from connectors.functions.api.records import FunctionRecord
from connectors.functions.api.tags import tagged
from connectors.functions.environment import VERSION
from connectors.functions.function import function_arn
from streams.core.errors import ValidationError

RUNTIMES = re.compile(r"python3\.\d+|provided(\.al2|\.al2023)?")
"""What can be run here: Python by the interpreter that the server runs on, and executables that bring their runtime."""

ENVIRONMENT_SIZE_MAX = 4096

NAME_LENGTH_MAX = 64

RESERVED = frozenset(
    [
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_MAX_CONCURRENCY",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    ]
)
"""Environment variables that are Lambda's own."""

_RESERVED_USED = (
    "Lambda was unable to configure your environment variables because the environment variables you have provided "
    "contains reserved keys that are currently not supported for modification. Reserved keys used in this request: {}"
)
_TOO_LARGE = (
    "Lambda was unable to configure your environment variables because the environment variables you have provided "
    "exceeded the 4KB limit. String measured: {}"
)
_NO_RUNTIME = "Runtime and Handler are mandatory parameters for functions created with deployment packages."

_NOT_OFFERED = [
    "FileSystemConfigs",
    "CodeSigningConfigArn",
    "ImageConfig",
    "TenancyConfig",
    "CapacityProviderConfig",
    "DurableConfig",
    "PublishTo",
    "Layers",
]
"""Members of requests that are refused where they say anything."""

_REPEATED = ("TracingConfig", "KMSKeyArn", "LoggingConfig")
"""Members that change nothing here and are answered as they were given."""


def changed(request: Any) -> dict[str, Any]:
    """The fields of a `FunctionRecord` that a create or an update of the configuration sets. Raises `RequestError`."""
    given = {name: one for name, one in _members(request).items() if one is not None}
    _check_offered(given)
    fields: dict[str, Any] = {}
    for member, name in _FIELDS.items():
        if member in given:
            fields[name] = given[member]
    if "runtime" in fields and RUNTIMES.fullmatch(fields["runtime"]) is None:
        raise not_offered(f"Runtime {fields['runtime']}")
    if "Environment" in given:
        fields["environment"] = _environment(given["Environment"].get("Variables") or {})
    if "EphemeralStorage" in given:
        fields["scratch_mb"] = given["EphemeralStorage"]["Size"]
    if "Architectures" in given:
        fields["architectures"] = tuple(given["Architectures"])
    if "Tags" in given:
        fields["tags"] = tagged({}, given["Tags"])
    repeated = {name: given[name] for name in _REPEATED if name in given}
    if repeated:
        fields["given"] = repeated
    return fields


_FIELDS = {
    "Role": "role",
    "Runtime": "runtime",
    "Handler": "handler",
    "Description": "description",
    "Timeout": "timeout_s",
    "MemorySize": "memory_mb",
}


def check_created(name: str, fields: Mapping[str, Any]) -> None:
    if len(name) > NAME_LENGTH_MAX:
        raise ValidationError(
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must "
            f"have length less than or equal to {NAME_LENGTH_MAX}"
        )
    if not fields.get("runtime") or not fields.get("handler"):
        raise InvalidParameterValue(_NO_RUNTIME)


def description(record: FunctionRecord, state: Mapping[str, str], *, qualified: bool = False) -> dict[str, Any]:
    """FunctionConfiguration. `state` are State, LastUpdateStatus and their reasons."""
    arn = function_arn(record.scope, record.name)
    logging = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{record.name}"}
    told: dict[str, Any] = {
        "FunctionName": record.name,
        "FunctionArn": f"{arn}:{VERSION}" if qualified else arn,
        "Runtime": record.runtime,
        "Role": record.role,
        "Handler": record.handler,
        "CodeSize": record.code_size,
        "Description": record.description,
        "Timeout": record.timeout_s,
        "MemorySize": record.memory_mb,
        "LastModified": _time(record.modified_ms),
        "CodeSha256": record.code_sha256,
        "Version": VERSION,
        "TracingConfig": {"Mode": "PassThrough"},
        "RevisionId": record.revision,
        "PackageType": "Zip",
        "Architectures": list(record.architectures),
        "EphemeralStorage": {"Size": record.scratch_mb},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        **record.given,
        "LoggingConfig": {**logging, **record.given.get("LoggingConfig", {})},
        **state,
    }
    if record.environment:
        told["Environment"] = {"Variables": record.environment}
    return told


def _members(request: Any) -> dict[str, Any]:
    """The request as AWS's member names and plain data."""
    names = zip(request.__struct_fields__, request.__struct_encode_fields__, strict=True)
    # The code is large, and looked at elsewhere.
    return {
        member: _without_nulls(msgspec.to_builtins(getattr(request, name))) for name, member in names if name != "code"
    }


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return value


def _check_offered(given: Mapping[str, Any]) -> None:
    for name in _NOT_OFFERED:
        if given.get(name):
            raise not_offered(name)
    if given.get("Publish"):
        raise not_offered("Publish: versions")
    if given.get("PackageType", "Zip") != "Zip":
        raise not_offered(f"PackageType {given['PackageType']}")
    if given.get("VpcConfig", {}).get("SubnetIds") or given.get("VpcConfig", {}).get("SecurityGroupIds"):
        raise not_offered("VpcConfig")
    if given.get("DeadLetterConfig", {}).get("TargetArn"):
        raise not_offered("DeadLetterConfig: asynchronous invocation")
    if given.get("SnapStart", {}).get("ApplyOn", "None") != "None":
        raise not_offered("SnapStart: versions")


def _environment(variables: dict[str, str]) -> dict[str, str]:
    reserved = sorted(RESERVED & set(variables))
    if reserved:
        raise InvalidParameterValue(_RESERVED_USED.format(", ".join(reserved)))
    text = msgspec.json.encode(variables).decode()
    if len(text.encode()) > ENVIRONMENT_SIZE_MAX:
        raise InvalidParameterValue(_TOO_LARGE.format(text))
    return variables


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
