"""SQL over streams: Kinesis Data Analytics SQL applications, continuous queries, and the same SQL over history."""

from analytics.application import Application, Progress
from analytics.continuous import continuous, is_continuous
from analytics.errors import SqlError
from analytics.history import query
from analytics.inputs import Input
from analytics.outputs import Output
from analytics.program import Program, parse
from analytics.references import Reference

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
