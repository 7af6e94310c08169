"""One call of an AWS operation from the command line, and what is said when it is refused."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import botocore.exceptions

from gateway.cli.connection import Target
from gateway.cli.failure import Failure


def call(
    target: Target,
    service: str,
    operation: str,
    members: dict[str, Any],
    named: str,
    names: Callable[[], Sequence[str]],
) -> Any:
    """Raises `Failure` in the server's words; where it does not know what the member `named` names, with those of `names`
    that look alike."""
    try:
        return getattr(target.aws(service), operation)(**members)
    except botocore.exceptions.EndpointConnectionError as error:
        raise target.down from error
    except botocore.exceptions.ClientError as error:
        told, hint = error.response["Error"], None
        if named in members and told["Code"] == "ResourceNotFoundException":
            alike = difflib.get_close_matches(members[named], names())
            hint = f"did you mean {' or '.join(alike)}?" if alike else None
        raise Failure(told["Message"], hint=hint) from error
    except (botocore.exceptions.ParamValidationError, botocore.exceptions.HTTPClientError) as error:
        raise Failure(str(error)) from error
