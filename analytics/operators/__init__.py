"""Operators with a state of their own: machines that take rows and frontiers, and give rows and changes of the state.

Each reads streams of plain columns (``rt``, ``c0``, …) that pumps have computed, so that nothing in them can fail for a row,
and each looks at rows in the order of their time, so that its result does not depend on how the stream was batched.
"""
