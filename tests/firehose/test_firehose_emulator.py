"""The profile of emulators: each of its deviations, and AWS's behaviour beside it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.firehose.harness import NEWLINES, House, function, processing
from tests.firehose.test_firehose_updates import description

FUNCTIONS = {
    "echo": "tests.firehose.functions:echo_event",
    "plain": "tests.firehose.functions:without_result",
}


async def delivered(tmp_path: Path, compat: str, **members: Any) -> dict[str, bytes]:
    async with House(tmp_path, firehose_compat=compat, functions=FUNCTIONS) as house:
        await house.create(**members)
        await house.put("firehose/flights", [b"one"])
        await house.until(lambda: house.settled() == 1, step_s=10)
        return house.objects()


@pytest.mark.parametrize(("compat", "folder"), [("aws", "legacy2023"), ("emulator", "legacy")])
async def test_a_slash_after_a_literal_prefix(tmp_path: Path, compat: str, folder: str) -> None:
    (name,) = await delivered(tmp_path, compat, Prefix="legacy")
    assert name.partition("/")[0] == folder


@pytest.mark.parametrize(("compat", "kind"), [("aws", "processing-failed"), ("emulator", "2023")])
async def test_an_answer_without_a_result(tmp_path: Path, compat: str, kind: str) -> None:
    (name,) = await delivered(tmp_path, compat, **processing(function("plain", NumberOfRetries=0)))
    assert name.partition("/")[0] == kind


@pytest.mark.parametrize(("compat", "present"), [("aws", False), ("emulator", True)])
async def test_kinesis_metadata_of_a_direct_put(tmp_path: Path, compat: str, present: bool) -> None:
    (content,) = (await delivered(tmp_path, compat, **processing(function("echo")))).values()
    (record,) = json.loads(content)["records"]
    assert ("kinesisRecordMetadata" in record) is present
    assert base64.b64decode(record["data"]) == b"one"


@pytest.mark.parametrize("compat", ["aws", "emulator"])
async def test_encryption_is_told_of_once_it_was_asked_for(tmp_path: Path, compat: str) -> None:
    async with House(tmp_path, firehose_compat=compat) as house:
        await house.create()
        assert ("DeliveryStreamEncryptionConfiguration" in await description(house)) is (compat == "aws")
        await house.call("StartDeliveryStreamEncryption", DeliveryStreamName="flights")
        assert (await description(house))["DeliveryStreamEncryptionConfiguration"]["Status"] == "ENABLED"


@pytest.mark.parametrize(("setting", "content"), [("after", b"1\n2\n"), ("between", b"1\n2")])
async def test_where_the_line_feed_stands(tmp_path: Path, setting: str, content: bytes) -> None:
    async with House(tmp_path, firehose_delimiter=setting) as house:
        await house.create(**processing(NEWLINES))
        await house.put("firehose/flights", [b"1", b"2"])
        await house.until(lambda: house.settled() == 2, step_s=10)
        assert list(house.objects().values()) == [content]
