"""The process of a function: ``python -P launcher.py PARENT HANDLER DATA_SIZE_MAX``, with Lambda's environment variables.

It leaves when its parent does, takes its limits, and becomes the function's runtime: awslambdaric, or the executable
``bootstrap`` of a ``provided`` runtime. Nothing of Headrace can be imported here, so that a function's own modules may
have any name, and a cold start is that of the interpreter, of awslambdaric and of the function.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import resource
import signal
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1

DESCRIPTORS_MAX = 1024
"""Open files, as on Lambda."""


def main() -> None:
    parent, handler, data_size_max = sys.argv[1:]
    # An environment that hangs must not outlive a server that was killed.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("the server has gone")
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, DESCRIPTORS_MAX)
    _limit(resource.RLIMIT_DATA, int(data_size_max))
    root = os.environ["LAMBDA_TASK_ROOT"]
    if os.environ["AWS_EXECUTION_ENV"].startswith("AWS_Lambda_provided"):
        bootstrap = os.path.join(root, "bootstrap")
        os.execv(bootstrap, [bootstrap])
    _run(root, handler)


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _run(root: str, handler: str) -> None:
    from awslambdaric.__main__ import main as run
    from awslambdaric.lambda_runtime_client import BaseLambdaRuntimeClient

    BaseLambdaRuntimeClient.marshaller = _marshaller()
    sys.path.insert(0, root)
    sys.argv[1:] = []
    run([sys.argv[0], handler])


def _marshaller() -> Any:
    path = os.path.join(os.path.dirname(__file__), "marshaller.py")
    spec = importlib.util.spec_from_file_location("_headrace_marshaller", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Marshaller()


if __name__ == "__main__":
    main()
