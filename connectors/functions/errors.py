"""How a call of a function fails. All of them may be tried again; only who calls knows whether that helps.

FunctionError
├── FunctionUnknown      no function of this name is configured
├── FunctionNotLoaded    its module cannot be imported, or has no such function
├── FunctionRaised       it raised, or what it returned is not JSON
├── FunctionTimedOut     it took too long, and was killed
├── FunctionExited       its process ended: exit, signal, out of memory
└── PayloadTooLarge      the event or the answer is over the limit
"""

from __future__ import annotations

from streams.core.errors import HeadraceError


class FunctionError(HeadraceError):
    """A call that failed."""


class FunctionUnknown(FunctionError):
    pass


class FunctionNotLoaded(FunctionError):
    pass


class FunctionRaised(FunctionError):
    pass


class FunctionTimedOut(FunctionError):
    pass


class FunctionExited(FunctionError):
    pass


class PayloadTooLarge(FunctionError):
    pass
