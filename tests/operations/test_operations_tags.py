"""Tags and resource policies of streams and consumers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.core.errors import InvalidArgument, ResourceNotFound

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "kinesis:*", "Resource": ARN}],
    }
)


async def tags(kinesis: Any, arn: str = ARN) -> dict[str, str]:
    reply = await kinesis.ask("ListTagsForResource", ResourceARN=arn)
    return {tag["Key"]: tag["Value"] for tag in reply["Tags"]}


async def test_both_families_write_the_same_tags_and_they_outlive_a_restart(stream: Any) -> None:
    await stream.ask("AddTagsToStream", StreamName="s", Tags={"a": "1", "b": "2"})
    await stream.ask("TagResource", ResourceARN=ARN, Tags={"b": "3", "c": ""})
    assert await tags(stream) == {"a": "1", "b": "3", "c": ""}
    await stream.ask("RemoveTagsFromStream", StreamARN=ARN, TagKeys=["a", "never there"])
    await stream.ask("UntagResource", ResourceARN=ARN, TagKeys=["c"])
    await stream.restart()
    assert await tags(stream) == {"b": "3"}


async def test_tags_of_a_stream_page_in_the_order_of_their_keys(stream: Any) -> None:
    await stream.ask("AddTagsToStream", StreamName="s", Tags={f"k{number:02}": "v" for number in reversed(range(50))})
    page = await stream.ask("ListTagsForStream", StreamName="s", Limit=30)
    assert page["HasMoreTags"] is True
    rest = await stream.ask("ListTagsForStream", StreamName="s", ExclusiveStartTagKey=page["Tags"][-1]["Key"])
    assert rest["HasMoreTags"] is False
    assert [tag["Key"] for tag in page["Tags"] + rest["Tags"]] == [f"k{number:02}" for number in range(50)]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"a": "!"}, "Some tags contain invalid characters"),
        ({"a;b": "c"}, "Some tags contain invalid characters"),
        ({"AWS:x": "y"}, "aws: are reserved"),
        (
            {str(number): "" for number in range(51)},
            "stream s under account 000000000000 because a given stream cannot have more than 50",
        ),
    ],
)
async def test_tags_that_cannot_be(stream: Any, given: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        await stream.ask("AddTagsToStream", StreamName="s", Tags=given)
    assert await tags(stream) == {}


async def test_tags_of_any_script_are_welcome(stream: Any) -> None:
    await stream.ask("AddTagsToStream", StreamName="s", Tags={"Straße 7": "über_./=+-%@", "名前": "値"})
    assert await tags(stream) == {"Straße 7": "über_./=+-%@", "名前": "値"}


async def test_a_consumer_has_tags_and_a_policy_of_its_own(stream: Any) -> None:
    reply = await stream.ask("RegisterStreamConsumer", StreamARN=ARN, ConsumerName="c")
    arn = reply["Consumer"]["ConsumerARN"]
    await stream.ask("TagResource", ResourceARN=arn, Tags={"a": "1"})
    await stream.ask("PutResourcePolicy", ResourceARN=arn, Policy=POLICY)
    await stream.restart()
    assert (await tags(stream, arn), await tags(stream)) == ({"a": "1"}, {})
    assert stream.service.resource_policy(arn) == POLICY
    await stream.ask("DeregisterStreamConsumer", ConsumerARN=arn)
    assert stream.service.resource_policy(arn) is None
    with pytest.raises(ResourceNotFound):
        await tags(stream, arn)


async def test_a_policy_is_put_read_and_deleted_and_goes_with_its_stream(stream: Any) -> None:
    assert (await stream.ask("GetResourcePolicy", ResourceARN=ARN))["Policy"] == "{}"
    await stream.ask("PutResourcePolicy", ResourceARN=ARN, Policy=POLICY)
    assert (await stream.ask("GetResourcePolicy", ResourceARN=ARN))["Policy"] == POLICY
    await stream.ask("DeleteResourcePolicy", ResourceARN=ARN)
    with pytest.raises(ResourceNotFound, match="no resource policy"):
        await stream.ask("DeleteResourcePolicy", ResourceARN=ARN)
    await stream.ask("PutResourcePolicy", ResourceARN=ARN, Policy=POLICY)
    await stream.ask("DeleteStream", StreamName="s")
    with pytest.raises(ResourceNotFound):
        await stream.ask("GetResourcePolicy", ResourceARN=ARN)
    await stream.ask("CreateStream", StreamName="s", ShardCount=1)
    assert (await stream.ask("GetResourcePolicy", ResourceARN=ARN))["Policy"] == "{}"


@pytest.mark.parametrize("policy", ["", "{", "[]", "{}", '{"Statement": 1}'])
async def test_a_policy_that_is_none_is_refused(stream: Any, policy: str) -> None:
    with pytest.raises(InvalidArgument, match="policy"):
        await stream.ask("PutResourcePolicy", ResourceARN=ARN, Policy=policy)


@pytest.mark.parametrize("operation", ["TagResource", "PutResourcePolicy", "GetResourcePolicy"])
async def test_an_arn_of_something_else(stream: Any, operation: str) -> None:
    members = {"TagResource": {"Tags": {"a": "b"}}, "PutResourcePolicy": {"Policy": POLICY}}.get(operation, {})
    with pytest.raises(ResourceNotFound, match="Stream other under account 000000000000 not found"):
        await stream.ask(operation, ResourceARN=ARN[:-1] + "other", **members)
