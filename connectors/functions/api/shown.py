"""A function's record as something else: its state at a time, what runs; and a function of the settings as a record."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from connectors.functions.api.code import CodeStore
from connectors.functions.api.records import FunctionRecord
from connectors.functions.archive import ArchiveError
from connectors.functions.function import Function, function_arn
from streams.core.scope import Scope
from streams.core.settings import Settings

_LOGGING = (("LogFormat", "AWS_LAMBDA_LOG_FORMAT"), ("ApplicationLogLevel", "AWS_LAMBDA_LOG_LEVEL"))
"""Members of LoggingConfig that awslambdaric reads from the environment."""


def state(record: FunctionRecord, now_ms: int, settings: Settings) -> dict[str, str]:
    """State and LastUpdateStatus; a change takes as long as the settings say of streams."""
    if now_ms - record.created_ms < settings.create_ms:
        reason = {"StateReason": "The function is being created.", "StateReasonCode": "Creating"}
        return {"State": "Pending", **reason, "LastUpdateStatus": "InProgress"}
    updating = record.modified_ms > record.created_ms and now_ms - record.modified_ms < settings.update_ms
    return {"State": "Active", "LastUpdateStatus": "InProgress" if updating else "Successful"}


def runnable(record: FunctionRecord, code: CodeStore) -> Function:
    """What is started. Blocks: code may have to be unpacked."""
    try:
        root = code.root(record.code)
    except (OSError, ArchiveError):
        root = Path("the archive of the code is gone")
    logging = record.given.get("LoggingConfig", {})
    variables = {variable: logging[member] for member, variable in _LOGGING if member in logging}
    return Function(
        name=record.name,
        arn=function_arn(record.scope, record.name),
        root=root,
        handler=record.handler,
        runtime=record.runtime,
        timeout_s=record.timeout_s,
        memory_mb=record.memory_mb,
        scratch_mb=record.scratch_mb,
        environment={**record.environment, **variables},
    )


def configured(functions: Iterable[Function], scope: Scope) -> list[FunctionRecord]:
    """The functions of the settings, as if they had been created."""
    return [
        FunctionRecord(
            account=scope.account,
            region=scope.region,
            name=function.name,
            role=f"arn:aws:iam::{scope.account}:role/settings",
            runtime=function.runtime,
            handler=function.handler,
            code="",
            code_sha256="",
            code_size=0,
            timeout_s=int(function.timeout_s),
            memory_mb=function.memory_mb,
            scratch_mb=function.scratch_mb,
            revision="",
            created_ms=0,
            modified_ms=0,
        )
        for function in functions
    ]
