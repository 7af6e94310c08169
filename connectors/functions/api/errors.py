"""Lambda's errors: codes and statuses of its model, texts of AWS's where they are known."""

from __future__ import annotations

from streams.core.errors import InternalFailure, ResourceNotFound


class LambdaError(InternalFailure):
    code = "ServiceException"


class FunctionNotFound(ResourceNotFound):
    status = 404


class InvalidParameterValue(LambdaError):
    code = "InvalidParameterValueException"
    status = 400
    retry = False


class InvalidRequestContent(LambdaError):
    code = "InvalidRequestContentException"
    status = 400
    retry = False


class ResourceConflict(LambdaError):
    code = "ResourceConflictException"
    status = 409
    retry = False


class PreconditionFailed(LambdaError):
    code = "PreconditionFailedException"
    status = 412
    retry = False


class RequestTooLarge(LambdaError):
    code = "RequestTooLargeException"
    status = 413
    retry = False


class TooManyRequests(LambdaError):
    code = "TooManyRequestsException"
    status = 429


def not_offered(what: str) -> InvalidParameterValue:
    """For what the model knows and this server does not do."""
    return InvalidParameterValue(f"{what} is not supported by this server yet.")
