"""The pages of reference that are made from the code: settings, and operations by service. `--write` puts them into docs/."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from analytics.api.service import Analytics, Second
from firehose.service import OPERATIONS as FIREHOSE
from streams.core.settings import ENVIRONMENT_PREFIX, Settings
from streams.service import Service
from streams.wire.protocol import protocol
from tools import delivery, language

DOCS = Path(__file__).resolve().parent.parent / "docs"
MADE = "<!-- Made by `python -m tools.reference --write`. -->\n"


def settings_page() -> str:
    """Every setting with its type, default and meaning."""
    lines = [
        f"# Settings\n\n{MADE}",
        "One table of names feeds the settings file (TOML, `headrace serve --config FILE`), the environment "
        f"(`{ENVIRONMENT_PREFIX}` and the name in capitals; tables as JSON) and the options of `headrace serve`. "
        "The most specific source wins: option, environment, file, default. `headrace config` prints what is in force.\n",
        "| setting | default | meaning |\n|---|---|---|",
    ]
    for field in msgspec.structs.fields(Settings):
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()  # type: ignore[misc]
        meaning = _description(field)
        lines.append(f"| `{field.name}` | `{_shown(default)}` | {meaning} |")
    return "\n".join(lines) + "\n"


def operations_page() -> str:
    """Every operation of the models: built, or refused with a modelled error."""
    lines = [
        f"# Operations\n\n{MADE}",
        "What AWS's models know (botocore's, or the newer one that Headrace ships), and what of it works here. The five "
        "channel operations, stream to S3 without Firehose, are refused with a `ValidationException` that says so. An "
        "operation of another service that is not built answers `UnsupportedOperationException` with a sentence.\n",
    ]
    for title, service, built in (
        ("Kinesis Data Streams", "kinesis", Service.implemented),
        ("Data Firehose", "firehose", frozenset(FIREHOSE)),
        ("Kinesis Data Analytics for SQL", "kinesisanalytics", Analytics.implemented),
        ("Kinesis Data Analytics, second API (for SQL)", "kinesisanalyticsv2", Second.implemented),
        ("Glue data catalog (schemas of format conversion)", "glue", _glue()),
    ):
        known = protocol(service).operations
        lines.append(f"## {title}\n\n{len(built)} of {len(known)} operations work.\n")
        lines.append("Work: " + ", ".join(f"`{name}`" for name in sorted(built)) + ".\n")
        if service != "glue" and known - built:
            lines.append("Refused: " + ", ".join(f"`{name}`" for name in sorted(known - built)) + ".\n")
    return "\n".join(lines)


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "operations.md": operations_page,
    "sql-coverage.md": language.page,
    "firehose-coverage.md": delivery.page,
}


def _glue() -> frozenset[str]:
    return frozenset({"CreateDatabase", "GetDatabase", "GetDatabases", "CreateTable", "GetTable", "GetTables"})


def _description(field: msgspec.structs.FieldInfo) -> str:
    info = msgspec.inspect.type_info(field.type)
    extra = getattr(info, "extra_json_schema", None) or {}
    return str(extra.get("description", ""))


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode()


if __name__ == "__main__":
    for name, make in PAGES.items():
        if "--write" in sys.argv:
            (DOCS / name).write_text(make())
        else:
            sys.stdout.write(make())
