"""What a function is: the code, how it is started, and what it may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from streams.core.scope import Scope

TIMEOUT_S_MAX = 900
MEMORY_MB = 128
SCRATCH_MB = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function, as it is started.

    root          the folder of its code, where it runs and where its modules are looked for
    handler       ``module.function`` in it; for a ``provided`` runtime, what the executable ``bootstrap`` is told
    memory_mb     how much it may use, MiB, all of its processes together; more, and it is killed
    scratch_mb    how much it may write into its own temporary directory, MiB
    environment   variables beside those that Lambda sets
    inherits      whether it sees the server's environment variables as well
    """

    name: str
    arn: str = ""
    root: Path
    handler: str
    runtime: str = "python"
    timeout_s: float = 3.0
    memory_mb: int = MEMORY_MB
    scratch_mb: int = SCRATCH_MB
    environment: Mapping[str, str] = field(default_factory=dict)
    inherits: bool = False


def function_arn(scope: Scope, name: str) -> str:
    return f"arn:aws:lambda:{scope.region}:{scope.account}:function:{name}"


def referenced(name: str, reference: str, *, timeout_s: float, memory_mb: int = 4096) -> Function:
    """The function of ``package.module:function``, looked for as the server looks for modules, or of
    ``path/file.py:function``. The operator's own code: it sees the server's environment."""
    source, _, attribute = reference.rpartition(":")
    root, module = (Path(source).resolve().parent, Path(source).stem) if source.endswith(".py") else (Path(), source)
    return Function(
        name=name,
        arn=function_arn(Scope(), name),
        root=root.resolve(),
        handler=f"{module}.{attribute}",
        timeout_s=timeout_s,
        memory_mb=memory_mb,
        inherits=True,
    )
