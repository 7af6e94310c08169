"""Other people's clients, installed by `python -m tools.clients`, against a server of this process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools.clients import FOLDER

ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("AWS_", "HEADRACE_")) or name == "AWS_CA_BUNDLE"
} | {
    "AWS_ACCESS_KEY_ID": "k",
    "AWS_SECRET_ACCESS_KEY": "s",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""What a client is started with: this one's environment without anything that would lead it elsewhere."""

JAVA = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Java without its second compiler and its threads for collecting garbage, which pay in hours and cost seconds."""


def installed(name: str) -> Path:
    """The folder of a client. In CI a client that is missing is a failure; elsewhere its tests are skipped."""
    if not (FOLDER / f"{name}.installed").exists():
        reason = f"the client {name} is not installed: python -m tools.clients"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return FOLDER / name
