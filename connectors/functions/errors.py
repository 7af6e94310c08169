"""How a call of a function fails. All of them may be tried again; only who calls knows whether that helps.

FunctionError
├── FunctionUnknown         no such function
├── PayloadTooLarge         the event is over the limit
├── TooManyCalls            so many wait that one more is refused
├── FunctionUnreachable     a remote function's server does not answer, or not as one; or the machine has no room for a process
└── FunctionFault           the function itself failed: what Lambda answers with X-Amz-Function-Error
    ├── FunctionNotLoaded   its module cannot be imported, has no such handler, or its process ended before it was ready
    ├── FunctionRaised      it raised, or what it returned is not JSON
    ├── FunctionTimedOut    it took too long, and was killed
    ├── FunctionExited      its process ended: exit, signal, out of memory, out of scratch space
    └── AnswerTooLarge      what it returned is over the limit
"""

from __future__ import annotations

from typing import Any, Self

import msgspec

from streams.core.errors import HeadraceError

MESSAGE_SIZE_MAX = 4096
"""Characters of an exception's message that are repeated: it stands beside every record that failed with it."""


class FunctionError(HeadraceError):
    """A call that failed."""


class FunctionUnknown(FunctionError):
    pass


class PayloadTooLarge(FunctionError):
    pass


class TooManyCalls(FunctionError):
    retry = True


class FunctionUnreachable(FunctionError):
    retry = True


class FunctionFault(FunctionError):
    """`payload` is the JSON that Lambda answers: ``{errorMessage, errorType, …}``."""

    def __init__(self, name: str, payload: bytes) -> None:
        super().__init__(f"function {name}: {words(payload)}")
        self.payload = payload

    @classmethod
    def of(cls, name: str, kind: str, message: str) -> Self:
        """A fault that the runtime tells, in the words of Lambda's own."""
        return cls(name, msgspec.json.encode({"errorMessage": message, "errorType": kind}))


class FunctionNotLoaded(FunctionFault):
    pass


class FunctionRaised(FunctionFault):
    pass


class FunctionTimedOut(FunctionFault):
    pass


class FunctionExited(FunctionFault):
    pass


class AnswerTooLarge(FunctionFault):
    pass


def words(payload: bytes) -> str:
    """``errorType: errorMessage`` of a fault's payload; whatever it says where it is something else."""
    try:
        failure: Any = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        failure = None
    if not isinstance(failure, dict):
        return payload[:MESSAGE_SIZE_MAX].decode(errors="replace")
    kind, message = str(failure.get("errorType") or ""), str(failure.get("errorMessage") or "")
    if len(message) > MESSAGE_SIZE_MAX:
        message = message[:MESSAGE_SIZE_MAX] + "…"
    return ": ".join(part for part in (kind, message) if part) or "an error without words"


class StatementError(ValueError):
    """A function that is a statement, SQL or jq, or its columns, cannot be, and why: no call is made."""
