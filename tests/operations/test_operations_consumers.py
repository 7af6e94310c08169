"""Enhanced fan-out consumers are registered, described, listed and deregistered."""

from __future__ import annotations

from typing import Any

import pytest

from streams.core.errors import InvalidArgument, LimitExceeded, ResourceInUse, ResourceNotFound

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s"


async def register(kinesis: Any, name: str = "c", **members: Any) -> dict[str, Any]:
    return (await kinesis.ask("RegisterStreamConsumer", StreamARN=ARN, ConsumerName=name, **members))["Consumer"]


async def describe(kinesis: Any, **members: Any) -> dict[str, Any]:
    return (await kinesis.ask("DescribeStreamConsumer", **members))["ConsumerDescription"]


async def count(kinesis: Any) -> int:
    return (await kinesis.ask("DescribeStreamSummary", StreamName="s"))["StreamDescriptionSummary"]["ConsumerCount"]


async def test_a_consumer_is_found_by_its_arn_and_by_its_name_also_after_a_restart(stream: Any) -> None:
    made = await register(stream, Tags={"team": "a"})
    arn = made["ConsumerARN"]
    assert made["ConsumerStatus"] == "CREATING"
    assert arn == f"{ARN}/consumer/c:{int(made['ConsumerCreationTimestamp'])}"
    for _ in range(2):
        for members in (
            {"ConsumerARN": arn},
            {"StreamARN": ARN, "ConsumerName": "c"},
            {"StreamARN": ARN, "ConsumerName": "c", "ConsumerARN": arn},
        ):
            assert await describe(stream, **members) == made | {"ConsumerStatus": "ACTIVE", "StreamARN": ARN}
        assert (await stream.ask("ListTagsForResource", ResourceARN=arn))["Tags"] == [{"Key": "team", "Value": "a"}]
        assert await count(stream) == 1
        await stream.restart()


async def test_states_take_their_time(opened: Any, clock: Any) -> None:
    kinesis = await opened(create_ms=2000, delete_ms=3000)
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    with pytest.raises(ResourceInUse, match="not ACTIVE, instead in state CREATING"):
        await register(kinesis)
    clock.advance(2)
    await register(kinesis)
    by_name = {"StreamARN": ARN, "ConsumerName": "c"}
    assert (await describe(kinesis, **by_name))["ConsumerStatus"] == "CREATING"
    clock.advance(2)
    assert (await describe(kinesis, **by_name))["ConsumerStatus"] == "ACTIVE"
    await kinesis.ask("DeregisterStreamConsumer", **by_name)
    await kinesis.ask("DeregisterStreamConsumer", **by_name)
    assert (await describe(kinesis, **by_name))["ConsumerStatus"] == "DELETING"
    with pytest.raises(ResourceInUse, match=r"Consumer c under stream s already exists"):
        await register(kinesis)
    clock.advance(3)
    with pytest.raises(ResourceNotFound):
        await describe(kinesis, **by_name)
    assert await count(kinesis) == 0
    again = await register(kinesis)
    clock.advance(2)
    assert (await describe(kinesis, **by_name))["ConsumerARN"] == again["ConsumerARN"]


async def test_a_consumer_that_comes_back_within_a_second_has_another_arn(opened: Any, clock: Any) -> None:
    kinesis = await opened(delete_ms=1)
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    first = await register(kinesis)
    await kinesis.ask("DeregisterStreamConsumer", ConsumerARN=first["ConsumerARN"])
    clock.advance(0.002)
    second = await register(kinesis)
    assert second["ConsumerARN"] != first["ConsumerARN"]
    with pytest.raises(ResourceNotFound):
        await describe(kinesis, ConsumerARN=first["ConsumerARN"])


async def test_lists_page_and_a_stream_has_twenty_consumers_at_most(stream: Any, clock: Any) -> None:
    for number in range(20):
        await register(stream, f"c{number:02}")
        clock.advance(1)
    with pytest.raises(LimitExceeded, match="has 20 registered consumers"):
        await register(stream, "more")
    names, members = [], {}
    while True:
        page = await stream.ask("ListStreamConsumers", StreamARN=ARN, MaxResults=7, **members)
        names += [consumer["ConsumerName"] for consumer in page["Consumers"]]
        if "NextToken" not in page:
            break
        members = {"NextToken": page["NextToken"]}
    assert names == [f"c{number:02}" for number in range(20)]
    with pytest.raises(InvalidArgument, match="Invalid NextToken"):
        await stream.ask("ListStreamConsumers", StreamARN=ARN, NextToken="x")
    with pytest.raises(ResourceNotFound, match="was not created at 1"):
        await stream.ask("ListStreamConsumers", StreamARN=ARN, StreamCreationTimestamp=1)


async def test_five_consumers_may_be_creating(opened: Any, clock: Any) -> None:
    kinesis = await opened(create_ms=1000)
    await kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    clock.advance(1)
    for number in range(5):
        await register(kinesis, f"c{number}")
    with pytest.raises(LimitExceeded, match="5 consumers in state CREATING"):
        await register(kinesis, "c5")


async def test_a_stream_with_consumers_is_deleted_only_with_them(stream: Any) -> None:
    arn = (await register(stream))["ConsumerARN"]
    with pytest.raises(ResourceInUse, match="EnforceConsumerDeletion"):
        await stream.ask("DeleteStream", StreamName="s")
    await stream.ask("DeleteStream", StreamName="s", EnforceConsumerDeletion=True)
    with pytest.raises(ResourceNotFound, match="Consumer arn"):
        await describe(stream, ConsumerARN=arn)


@pytest.mark.parametrize(
    ("members", "error", "text"),
    [
        ({}, InvalidArgument, "Either ConsumerARN or both"),
        ({"ConsumerName": "c"}, InvalidArgument, "Either ConsumerARN or both"),
        ({"StreamARN": ARN, "ConsumerName": "d"}, ResourceNotFound, "Consumer d under stream s not found"),
        ({"ConsumerARN": f"{ARN}/consumer/d:12"}, ResourceNotFound, "Consumer arn:.*/d:12 not found"),
    ],
)
async def test_what_is_not_there(stream: Any, members: dict[str, str], error: type[Exception], text: str) -> None:
    await register(stream)
    with pytest.raises(error, match=text):
        await describe(stream, **members)


async def test_arn_and_name_must_agree(stream: Any) -> None:
    arn = (await register(stream))["ConsumerARN"]
    with pytest.raises(InvalidArgument, match="name different consumers"):
        await describe(stream, ConsumerARN=arn, StreamARN=ARN, ConsumerName="other")
