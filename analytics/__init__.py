"""SQL over streams: Kinesis Data Analytics SQL applications, continuous queries, and the same SQL over history.

Names are imported when they are first used: a server runs applications in processes of their own, and starts sooner without
what they need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streams.core.lazy as homes

if TYPE_CHECKING:
    from analytics.application import Application, Progress
    from analytics.errors import SqlError
    from analytics.history import query
    from analytics.inputs import Input
    from analytics.outputs import Output
    from analytics.program import Program, parse
    from analytics.references import Reference
    from analytics.standing import continuous, is_continuous

__all__ = [
    "Application",
    "Input",
    "Output",
    "Program",
    "Progress",
    "Reference",
    "SqlError",
    "continuous",
    "is_continuous",
    "parse",
    "query",
]

_HOMES = {
    "analytics.application": ("Application", "Progress"),
    "analytics.errors": ("SqlError",),
    "analytics.history": ("query",),
    "analytics.inputs": ("Input",),
    "analytics.outputs": ("Output",),
    "analytics.program": ("Program", "parse"),
    "analytics.references": ("Reference",),
    "analytics.standing": ("continuous", "is_continuous"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
__getattr__, __dir__ = homes.lazy(__name__, _HOME)
