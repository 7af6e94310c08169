from __future__ import annotations

from pathlib import Path

import pytest

from streams.core.errors import SettingsError
from streams.core.settings import Settings, load


def test_the_most_specific_source_wins(tmp_path: Path) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text('port = 1\nhost = "a"\nregion = "eu-west-1"\n')
    settings = load(file, {"HEADRACE_PORT": "2", "HEADRACE_HOST": "b"}, {"port": 3, "host": None})
    assert (settings.port, settings.host, settings.region, settings.log_sync) == (3, "b", "eu-west-1", "always")


def test_tables_come_from_the_environment_as_json() -> None:
    assert load(None, {"HEADRACE_BUCKETS": '{"lake": "s3://lake"}'}).buckets == {"lake": "s3://lake"}


@pytest.mark.parametrize(
    ("toml", "environment", "message"),
    [
        ("prot = 1", {}, "unknown setting 'prot'; the settings are host, port, data"),
        ("port = 70000", {}, r"settings: Expected `int` <= 65535 - at `\$.port`"),
        ('log_sync = "never"', {}, r"Invalid enum value 'never' - at `\$.log_sync`"),
        ("port = ", {}, "headrace.toml is not TOML"),
        ("", {"HEADRACE_PORT": "many"}, r"Expected `int`, got `str` - at `\$.port`"),
        ("", {"HEADRACE_BUCKETS": "{lake}"}, "HEADRACE_BUCKETS is not JSON"),
        ('account = "12"', {}, r"\$.account"),
        (
            '[kafka_clusters]\n"arn:c" = "k:9092"',
            {},
            "kafka_clusters: arn:c: the brokers .* it is written kafka://host:9092",
        ),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, toml: str, environment: dict[str, str], message: str) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text(toml)
    with pytest.raises(SettingsError, match=message):
        load(file, environment)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        load(tmp_path / "no.toml", {})


def test_every_setting_says_what_it_is_for() -> None:
    import msgspec

    for field in msgspec.inspect.type_info(Settings).fields:  # type: ignore[attr-defined]
        extra = getattr(field.type, "extra_json_schema", None)
        assert extra, f"{field.name} has no description"
        assert extra["description"]
