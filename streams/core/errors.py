"""The tree of errors.

    HeadraceError
    ├── RequestError                       a request fails: code, status, retry, in AWS's words
    │   ├── ValidationError                ValidationException
    │   ├── SerializationError             SerializationException
    │   ├── UnknownOperation               UnknownOperationException
    │   ├── UnsupportedOperation           UnsupportedOperationException: known to the model, not built yet
    │   ├── InvalidArgument                InvalidArgumentException
    │   ├── ResourceNotFound               ResourceNotFoundException
    │   ├── ResourceInUse                  ResourceInUseException
    │   ├── LimitExceeded                  LimitExceededException                      (retry)
    │   ├── ProvisionedThroughputExceeded  ProvisionedThroughputExceededException      (retry)
    │   ├── Throttling                     ThrottlingException                         (retry)
    │   ├── ConcurrentModification         ConcurrentModificationException
    │   ├── ExpiredIterator                ExpiredIteratorException
    │   ├── ExpiredNextToken               ExpiredNextTokenException
    │   ├── DryRunOperation                DryRunOperationException
    │   ├── AccessDenied                   AccessDeniedException
    │   ├── UnrecognizedClient             UnrecognizedClientException
    │   ├── ExpiredToken                   ExpiredTokenException
    │   ├── InvalidSignature               InvalidSignatureException
    │   ├── IncompleteSignature            IncompleteSignatureException
    │   ├── MissingAuthenticationToken     MissingAuthenticationTokenException
    │   ├── InternalFailure                InternalFailure, 500                        (retry)
    │   └── ServiceUnavailable             ServiceUnavailableException, 503            (retry)
    ├── LogError                           the log cannot do what was asked
    │   ├── ShardUnknown
    │   ├── OffsetOutOfRange
    │   ├── LogClosed
    │   ├── LogFull                        no space left, or the disk refuses writes   (retry)
    │   ├── LogUnreachable                 records lie in a place that does not answer (retry)
    │   ├── ShardClosed                    another process split or merged the shard   (retry)
    │   ├── JournalMoved                   another process writes to a journal that has one owner
    │   └── LogCorrupt                     bytes on disk are not what was written
    ├── SettingsError                      a setting is wrong: its name, its source, what would be right
    └── ExtraMissing                       an optional library is not installed: the command that installs it

Three kinds of trouble, three ways: a *request* fails with one of these; a *row* fails by becoming a row of the error
output; a *bug* fails an assertion. `retry` is a property of the class: True means that the same call may succeed later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class HeadraceError(Exception):
    """Everything that Headrace raises on purpose."""

    retry: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RequestError(HeadraceError):
    """A request that fails. `code` is the name on the wire, `status` the HTTP status."""

    code: ClassVar[str] = "InternalFailure"
    status: ClassVar[int] = 400
    members: Mapping[str, Any] = {}
    """What the answer says beside code and message, in the few errors that say more."""


class ValidationError(RequestError):
    code = "ValidationException"


class SerializationError(RequestError):
    code = "SerializationException"


class UnknownOperation(RequestError):
    code = "UnknownOperationException"


class UnsupportedOperation(RequestError):
    code = "UnsupportedOperationException"


class InvalidArgument(RequestError):
    code = "InvalidArgumentException"


class ResourceNotFound(RequestError):
    code = "ResourceNotFoundException"


class ResourceInUse(RequestError):
    code = "ResourceInUseException"


class LimitExceeded(RequestError):
    code = "LimitExceededException"
    retry = True


class ProvisionedThroughputExceeded(RequestError):
    code = "ProvisionedThroughputExceededException"
    retry = True


class Throttling(RequestError):
    code = "ThrottlingException"
    retry = True


class ConcurrentModification(RequestError):
    code = "ConcurrentModificationException"


class ExpiredIterator(RequestError):
    code = "ExpiredIteratorException"


class ExpiredNextToken(RequestError):
    code = "ExpiredNextTokenException"


class DryRunOperation(RequestError):
    code = "DryRunOperationException"


class AccessDenied(RequestError):
    code = "AccessDeniedException"


class UnrecognizedClient(RequestError):
    code = "UnrecognizedClientException"


class ExpiredToken(RequestError):
    code = "ExpiredTokenException"


class InvalidSignature(RequestError):
    code = "InvalidSignatureException"


class IncompleteSignature(RequestError):
    code = "IncompleteSignatureException"


class MissingAuthenticationToken(RequestError):
    code = "MissingAuthenticationTokenException"


class InternalFailure(RequestError):
    code = "InternalFailure"
    status = 500
    retry = True


class ServiceUnavailable(RequestError):
    code = "ServiceUnavailableException"
    status = 503
    retry = True


class LogError(HeadraceError):
    """The log cannot do what was asked."""


class ShardUnknown(LogError):
    """No such shard in this log."""


class OffsetOutOfRange(LogError):
    """A read below the first retained offset or above the next one."""


class LogClosed(LogError):
    """The log has been closed."""


class LogFull(LogError):
    """The disk has no space or refuses writes; nothing of the failed append is visible, and it may be tried again."""

    retry = True


class LogUnreachable(LogError):
    """Records lie at the `log_tier_url`, or all of the log on Apache Kafka, and that does not answer, or not with them. The
    same call may succeed later. Of an append to Kafka it is not known whether it will be there; one with a `ProducerMark` is
    not doubled by trying again."""

    retry = True


class ShardClosed(LogError):
    """The shard was split or merged by another process while records were appended to it; nothing of the append is visible,
    and it may be tried again: its records belong to other shards now."""

    retry = True


class JournalMoved(LogError):
    """Another process has become the owner of a journal. Nothing was appended."""


class LogCorrupt(LogError):
    """Bytes below the synced mark are not what was written."""


class SettingsError(HeadraceError):
    """A setting that cannot be used."""


class ExtraMissing(HeadraceError):
    """An optional library is not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the extra '{extra}': pip install 'headrace[{extra}]'")
        self.extra = extra


def request_errors() -> dict[str, type[RequestError]]:
    """Every request error by its code on the wire, so that a client can raise what a server said."""
    return {kind.code: kind for kind in RequestError.__subclasses__()}
