"""The process that runs a function: ``python -m connectors.functions.runtime FD NAME REFERENCE``.

It talks with its parent over the socket FD in frames, one call at a time, in either direction:

    u32 length of the payload · u8 kind · payload

    parent → child   C call     u64 deadline (ms since the epoch) · 36 bytes request id · the event as JSON
    child → parent   K ready
                     L not loaded   JSON {errorType, errorMessage, stackTrace}
                     R result       the answer as JSON
                     E raised       JSON {errorType, errorMessage, stackTrace}

Integers are big-endian. When the socket ends, so does the process. Standard output and standard error are the
function's own. Only the standard library is imported here: a cold start is that of the interpreter and of the function.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import resource
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

HEADER = struct.Struct(">Ic")
CALL = struct.Struct(">Q36s")

MEMORY_SIZE_MAX = 4 << 30
"""Address space of a function, bytes: far above what a batch of 6 MB needs even with large libraries, and a function
that runs away gets a MemoryError instead of taking the machine along."""

ORPHAN_CHECK_S = 1.0
"""How often the process looks whether its parent is still there, so that a hanging function does not outlive it."""

Handler = Callable[[Any, Any], Any]


class Context:
    """What Lambda hands to a function beside the event, as far as a local process knows it."""

    def __init__(self, name: str, request_id: str, deadline_ms: int) -> None:
        self.function_name = name
        self.function_version = "$LATEST"
        self.invoked_function_arn = os.environ.get("AWS_LAMBDA_FUNCTION_ARN", "")
        self.memory_limit_in_mb = str(MEMORY_SIZE_MAX >> 20)
        self.aws_request_id = request_id
        self.log_group_name = f"/aws/lambda/{name}"
        self.log_stream_name = str(os.getpid())
        self._deadline_ms = deadline_ms

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self._deadline_ms - time.time_ns() // 1_000_000)


def load(reference: str) -> Handler:
    """The function of ``package.module:function`` or ``path/file.py:function``."""
    source, _, attribute = reference.rpartition(":")
    if source.endswith(".py"):
        spec = importlib.util.spec_from_file_location("function", source)
        if spec is None or spec.loader is None:
            raise ImportError(f"{source} cannot be loaded")
        module = importlib.util.module_from_spec(spec)
        sys.modules["function"] = module
        sys.path.insert(0, os.path.dirname(os.path.abspath(source)))
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(source)
    handler = getattr(module, attribute)
    if not callable(handler):
        raise TypeError(f"{reference} is not a function")
    return handler


def serve(channel: socket.socket, name: str, reference: str) -> None:
    """Answers calls until the parent goes away."""
    try:
        handler = load(reference)
    except BaseException as error:
        _send(channel, b"L", _failure(error))
        return
    _send(channel, b"K", b"")
    while True:
        header = _receive(channel, HEADER.size)
        if header is None:
            return
        length, _ = HEADER.unpack(header)
        payload = _receive(channel, length)
        if payload is None:
            return
        deadline_ms, request_id = CALL.unpack_from(payload)
        try:
            event = json.loads(memoryview(payload)[CALL.size :].tobytes())
            answer = json.dumps(handler(event, Context(name, request_id.decode(), deadline_ms))).encode()
        except Exception as error:
            _send(channel, b"E", _failure(error))
        else:
            _send(channel, b"R", answer)


def main() -> None:
    descriptor, name, reference = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = MEMORY_SIZE_MAX if hard == resource.RLIM_INFINITY else min(MEMORY_SIZE_MAX, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    threading.Thread(target=_leave_with_parent, args=(os.getppid(),), daemon=True).start()
    with socket.socket(fileno=int(descriptor)) as channel, contextlib.suppress(ConnectionError):
        serve(channel, name, reference)


def _leave_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(ORPHAN_CHECK_S)
    os._exit(0)


def _failure(error: BaseException) -> bytes:
    return json.dumps(
        {
            "errorType": type(error).__name__,
            "errorMessage": str(error),
            "stackTrace": traceback.format_tb(error.__traceback__),
        }
    ).encode()


def _send(channel: socket.socket, kind: bytes, payload: bytes) -> None:
    channel.sendall(HEADER.pack(len(payload), kind) + payload)


def _receive(channel: socket.socket, length: int) -> bytearray | None:
    """Exactly `length` bytes, or None at the end of the socket."""
    data = bytearray(length)
    view = memoryview(data)
    while view:
        got = channel.recv_into(view)
        if got == 0:
            return None
        view = view[got:]
    return data


if __name__ == "__main__":
    main()
