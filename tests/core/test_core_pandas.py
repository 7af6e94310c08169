"""pyarrow without its look for pandas, in a process that has not made an array yet."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from streams.core.pandas import without_pandas
without_pandas()
import pyarrow as pa
array = pa.array([1, 2, 3])
assert "pandas" not in sys.modules
assert array.to_pandas().sum() == 6
assert "pandas" in sys.modules
assert pa.array(array.to_pandas()).to_pylist() == [1, 2, 3]
"""


def test_pandas_comes_with_the_first_who_asks_for_it_and_not_before() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
