"""pyarrow's first look for pandas, which costs who does not use it."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any

import pyarrow as pa


class _Hidden(MetaPathFinder):
    def find_spec(self, fullname: str, *_: Any) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not looked for here", name=fullname)


def without_pandas() -> None:
    """pyarrow imports pandas, where it is installed, with the first array that it makes, to know whether it was given one
    of pandas'. The processes of a server never give it one, and the import takes a second, for which the first caller would
    wait. pyarrow looks once; who asks it for a frame of pandas, or imports pandas, still gets it."""
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(hidden)
