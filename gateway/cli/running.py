"""From a synchronous command into the event loop and back."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import click
import uvloop

from gateway.cli.connection import Target
from gateway.cli.failure import Failure
from streams.core.errors import HeadraceError

INTERRUPTED = 130
"""128 + SIGINT: what shells expect of a program that Ctrl-C ended."""

T = TypeVar("T")


def run(target: Target, work: Coroutine[Any, Any, T], *, endless: bool = False) -> T | None:
    """Runs `work` and turns what can go wrong into sentences. Ctrl-C ends it: that is how `endless` work ends well."""
    if "pyarrow" in sys.modules:
        from streams.core.pandas import without_pandas  # imports pyarrow, which many commands do without

        without_pandas()
    try:
        return uvloop.run(work)
    except KeyboardInterrupt:
        if endless:
            return None
        raise click.exceptions.Exit(INTERRUPTED) from None
    except HeadraceError as error:
        if _refused(error):
            raise target.down from error
        raise Failure(error.message) from error
    except BrokenPipeError:
        raise  # the reader of stdout went away: click ends the command quietly
    except ConnectionError as error:
        raise target.down from error


def _refused(error: BaseException) -> bool:
    """Whether the error came of nobody listening."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
