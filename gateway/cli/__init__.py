"""The command `headrace`: thin over library calls. Data goes to stdout, talk to stderr.

Exit codes: 0 well, 1 failed, 2 wrong usage, 130 interrupted.
"""

from gateway.cli.root import main

__all__ = ["main"]
