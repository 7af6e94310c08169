"""What all tests share: a hypothesis profile without timing, and seeds that are printed."""

from __future__ import annotations

import os
import random

import hypothesis
import pytest

# Timings on shared machines say nothing about correctness.
hypothesis.settings.register_profile("headrace", deadline=None, print_blob=True)
hypothesis.settings.load_profile("headrace")


@pytest.fixture
def seed() -> int:
    """A fresh seed, printed with a failing test; HEADRACE_TEST_SEED replays one."""
    value = int(os.environ.get("HEADRACE_TEST_SEED") or random.randrange(2**32))
    print(f"HEADRACE_TEST_SEED={value}")
    return value
