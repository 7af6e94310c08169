"""SQL over streams: Kinesis Data Analytics SQL applications, continuous queries, and the same SQL over history."""

from analytics.application import Application, Progress
from analytics.errors import SqlError
from analytics.frontier import FUTURE_MS
from analytics.inputs import Input
from analytics.outputs import Output
from analytics.program import Program, parse
from analytics.references import Reference

__all__ = [
    "FUTURE_MS",
    "Application",
    "Input",
    "Output",
    "Program",
    "Progress",
    "Reference",
    "SqlError",
    "parse",
]
