from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.clock import ManualClock
from streams.core.errors import ExpiredIterator, InvalidArgument, RequestError, ResourceNotFound
from streams.core.sequence import SequenceNumber
from streams.operations.addressing import parse_shard_id
from streams.operations.iterators import ShardIterator
from streams.operations.tokens import Tokens

TOKENS = Tokens(b"k" * 32)
NOW = 1_700_000_000_000
GOLDEN = "AAAAAAAAAAFpAAAAAAAAACoAAAGLz+VoAAAAAAdhYWFhYWFhYWFhYWFhYWFhYWFhYS1hYmNzdHJlYW0dhVqaPjcOEqsxbEoWL2hN"


def golden() -> ShardIterator:
    return ShardIterator("stream", "a" * 20 + "-abc", 7, 42, NOW)


def test_an_iterator_is_what_its_grammar_says() -> None:
    text = golden().encode(TOKENS)
    assert base64.b64decode(text)[:-16] == (
        b"\0\0\0\0\0\0\0\1i"
        + (42).to_bytes(8, "big")
        + NOW.to_bytes(8, "big")
        + (7).to_bytes(4, "big")
        + b"a" * 20
        + b"-abc"
        + b"stream"
    )
    assert text == GOLDEN
    assert ShardIterator.decode(text, TOKENS, NOW) == golden()


def test_the_longest_name_fits() -> None:
    assert len(ShardIterator("n" * 128, "a" * 24, 2**32 - 1, 2**63, NOW).encode(TOKENS)) <= 512


@given(st.integers(0, len(GOLDEN) - 1), st.characters(codec="ascii"))
def test_one_character_changed_is_no_iterator(place: int, character: str) -> None:
    forged = GOLDEN[:place] + character + GOLDEN[place + 1 :]
    if forged != GOLDEN and forged.strip('"') != GOLDEN:
        with pytest.raises(InvalidArgument, match=r"^Invalid ShardIterator\.$"):
            ShardIterator.decode(forged, TOKENS, NOW)


@pytest.mark.parametrize(
    "text", ["x", "AAAA", "", "é", GOLDEN[:-4], GOLDEN + "AAAA", base64.b64encode(bytes(80)).decode()]
)
def test_what_was_not_issued_here_is_no_iterator(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^Invalid ShardIterator\.$"):
        ShardIterator.decode(text, TOKENS, NOW)


def test_an_iterator_of_another_key_or_purpose_is_none() -> None:
    with pytest.raises(InvalidArgument):
        ShardIterator.decode(GOLDEN, Tokens(b"l" * 32), NOW)
    with pytest.raises(InvalidArgument):
        ShardIterator.decode(TOKENS.seal(b"s", b"x" * 60), TOKENS, NOW)


def test_an_old_iterator_has_expired() -> None:
    assert ShardIterator.decode(GOLDEN, TOKENS, NOW + 300_000) == golden()
    with pytest.raises(ExpiredIterator) as caught:
        ShardIterator.decode(GOLDEN, TOKENS, NOW + 300_001)
    assert caught.value.message == (
        "Iterator expired. The iterator was created at time Tue Nov 14 22:13:20 UTC 2023 while right now it is Tue Nov 14"
        " 22:18:20 UTC 2023 which is further in the future than the tolerated delay of 300000 milliseconds."
    )


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("shardId-000000000123", 123),
        ("123", 123),
        ("0", 0),
        ("shardId-", None),
        ("shard-1", None),
        ("-1", None),
        ("9" * 13, None),
        ("shardId-٣", None),
    ],
)
def test_shard_ids(text: str, index: int | None) -> None:
    assert parse_shard_id(text) == index


async def test_the_five_kinds(stream: Any, clock: ManualClock) -> None:
    numbers = await stream.put("a", "b")
    clock.advance(10)
    numbers += await stream.put("c")
    at = {"StartingSequenceNumber": numbers[1]}
    last = {"StartingSequenceNumber": numbers[2]}
    assert await stream.read(await stream.iterator("TRIM_HORIZON")) == ["a", "b", "c"]
    assert await stream.read(await stream.iterator("AT_SEQUENCE_NUMBER", **at)) == ["b", "c"]
    assert await stream.read(await stream.iterator("AFTER_SEQUENCE_NUMBER", **at)) == ["c"]
    assert await stream.read(await stream.iterator("AFTER_SEQUENCE_NUMBER", **last)) == []
    latest = await stream.iterator("LATEST")
    for seconds, keys in ((0, ["a", "b", "c"]), (0.001, ["c"]), (10, ["c"])):
        timestamp = 1_700_000_000 + seconds
        assert await stream.read(await stream.iterator("AT_TIMESTAMP", Timestamp=timestamp)) == keys
    assert await stream.read(latest) == []
    await stream.put("d")
    assert await stream.read(latest) == ["d"], "LATEST is fixed when it is issued"


async def test_the_shards_own_numbers_are_good_starts(stream: Any) -> None:
    await stream.put("a")
    shard = (await stream.ask("DescribeStream", StreamName="s"))["StreamDescription"]["Shards"][0]
    start = {"StartingSequenceNumber": shard["SequenceNumberRange"]["StartingSequenceNumber"]}
    assert await stream.read(await stream.iterator("AT_SEQUENCE_NUMBER", **start)) == ["a"]
    assert await stream.read(await stream.iterator("AFTER_SEQUENCE_NUMBER", **start)) == ["a"]


async def test_iterators_are_stateless_and_survive_a_restart(stream: Any) -> None:
    await stream.put("a", "b")
    iterator = await stream.iterator()
    first = await stream.ask("GetRecords", ShardIterator=iterator, Limit=1)
    await stream.restart()
    assert await stream.ask("GetRecords", ShardIterator=iterator, Limit=1) == first
    assert await stream.read(first["NextShardIterator"]) == ["b"]
    assert await stream.read(f'"{iterator}"') == ["a", "b"], "quotes as the CLI prints them"


async def test_an_iterator_lives_for_five_minutes_and_each_answer_has_a_new_one(
    stream: Any, clock: ManualClock
) -> None:
    iterator = await stream.iterator()
    clock.advance(300)
    following = (await stream.ask("GetRecords", ShardIterator=iterator))["NextShardIterator"]
    clock.advance(0.001)
    with pytest.raises(ExpiredIterator):
        await stream.read(iterator)
    assert await stream.read(following) == []


FOREIGN = "StartingSequenceNumber {0} used in GetShardIterator on shard shardId-000000000000 in stream s under account"
OTHER_SHARD = str(SequenceNumber(1_700_000_000, 5, 1, 1_700_000_000))
OTHER_STREAM = str(SequenceNumber(1_600_000_000, 0, 1, 1_700_000_000))


@pytest.mark.parametrize(
    ("kind", "members", "text"),
    [
        (
            "AT_TIMESTAMP",
            {},
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp"
            " parameter.",
        ),
        (
            "AT_TIMESTAMP",
            {"Timestamp": 1_700_000_000.001},
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis:"
            " 1700000000001, currentTimestampInMillis: 1700000000000",
        ),
        (
            "AT_SEQUENCE_NUMBER",
            {"StartingSequenceNumber": OTHER_SHARD},
            "Invalid StartingSequenceNumber. It encodes shardId-000000000005, while it was used in a call to a shard with"
            " shardId-000000000000",
        ),
        (
            "AFTER_SEQUENCE_NUMBER",
            {"StartingSequenceNumber": OTHER_STREAM},
            FOREIGN.format(OTHER_STREAM) + " 000000000000 is invalid because it did not come from this stream.",
        ),
        (
            "AT_SEQUENCE_NUMBER",
            {"StartingSequenceNumber": "12"},
            FOREIGN.format("12") + " 000000000000 is invalid.",
        ),
        (
            "AFTER_SEQUENCE_NUMBER",
            {},
            "Must specify startingSequenceNumber parameter for iterator of type AFTER_SEQUENCE_NUMBER. Current request has"
            " no startingSequenceNumber parameter.",
        ),
    ],
)
async def test_starts_that_are_none(stream: Any, kind: str, members: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await stream.iterator(kind, **members)
    assert caught.value.message == text


@pytest.mark.parametrize(("shard", "name"), [("1", "shardId-000000000001"), ("shardId-000000000123",) * 2, ("x", "x")])
async def test_a_shard_that_is_not_there(stream: Any, shard: str, name: str) -> None:
    with pytest.raises(ResourceNotFound) as caught:
        await stream.iterator(shard=shard)
    assert caught.value.message == f"Shard {name} in stream s under account 000000000000 does not exist"


async def test_the_arn_of_get_records_must_be_the_iterators(stream: Any) -> None:
    iterator = await stream.iterator()
    arn = "arn:aws:kinesis:us-east-1:000000000000:stream/"
    assert await stream.read(iterator, StreamARN=arn + "s") == []
    with pytest.raises(RequestError):
        await stream.read(iterator, StreamARN=arn + "t")
