from __future__ import annotations

import json

from tests.cli.cli_server import Headrace


def test_a_stream_from_its_making_to_its_end(headrace: Headrace) -> None:
    made = headrace("stream", "create", "orders", "--shards", "3", "--retention-hours", "48")
    assert made.exit_code == 0, made.output
    assert made.stdout == ""
    assert "stream orders takes records, 3 shards" in made.stderr

    listed = headrace("stream", "list")
    assert "orders" in listed.stdout
    assert "ACTIVE" in listed.stdout

    shown = headrace("stream", "describe", "orders")
    assert shown.stdout.count("shardId-") == 3

    plain = json.loads(headrace("stream", "describe", "orders", "--json").stdout)
    assert plain["name"] == "orders"
    assert plain["retention_hours"] == 48
    assert plain["shards"][0]["first_hash_key"] == "0"
    assert plain["shards"][2]["last_hash_key"] == str(2**128 - 1)
    assert plain["shards"][0]["next_offset"] == 0

    gone = headrace("stream", "delete", "orders", "--yes")
    assert gone.exit_code == 0
    assert "orders" not in [one["name"] for one in json.loads(headrace("stream", "list", "--json").stdout)]


def test_deleting_asks_first(headrace: Headrace, stream: str) -> None:
    refused = headrace("stream", "delete", stream, stdin="n\n")
    assert refused.exit_code == 1
    assert headrace("stream", "describe", stream).exit_code == 0
    assert headrace("stream", "delete", stream, stdin="y\n").exit_code == 0


def test_a_stream_that_exists_is_not_made_again(headrace: Headrace, stream: str) -> None:
    again = headrace("stream", "create", stream)
    assert again.exit_code == 1
    assert stream in again.stderr


def test_a_bad_name_is_refused_in_a_sentence(headrace: Headrace) -> None:
    refused = headrace("stream", "create", "not a name")
    assert refused.exit_code == 1
    assert "Traceback" not in refused.output
    assert refused.stderr.startswith("headrace: ")


def test_no_shards_is_wrong_usage(headrace: Headrace) -> None:
    assert headrace("stream", "create", "none", "--shards", "0").exit_code == 2


def test_an_unknown_stream_gets_a_suggestion(headrace: Headrace) -> None:
    assert headrace("stream", "create", "clicks-eu").exit_code == 0
    for command in (["stream", "describe"], ["stream", "delete", "--yes"], ["tail", "--no-follow"], ["put"]):
        missed = headrace(*command, "click-eu", stdin="x\n")
        assert missed.exit_code == 1, command
        assert "there is no stream 'click-eu'" in missed.stderr
        assert "did you mean clicks-eu?" in missed.stderr


def test_an_unknown_stream_that_looks_like_none(headrace: Headrace) -> None:
    missed = headrace("stream", "describe", "zzzzzzzz")
    assert missed.exit_code == 1
    assert "headrace stream create zzzzzzzz makes it" in missed.stderr


def test_streams_of_another_region_are_others(headrace: Headrace, stream: str) -> None:
    assert headrace("stream", "describe", stream, "--region", "eu-central-1").exit_code == 1
