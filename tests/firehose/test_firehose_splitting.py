"""Taking records apart: KPL aggregates, decompression, log messages, sub-records; each part in exactly one object."""

from __future__ import annotations

import asyncio
import base64
import gzip
import itertools
import json
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firehose.ledger import Coverage, Ledger
from firehose.splitting import PLAIN_SIZE_MAX, Splitting, _sub_records
from streams.core.errors import RequestError
from streams.sdk.aggregation import UserRecord, encode
from tests.firehose.harness import NEWLINES, House, function, processing, step
from tests.firehose.test_firehose_conversion import partitioned, query
from tests.firehose.test_firehose_crash import Crash, Crasher, crasher, die, new_house
from tests.firehose.test_firehose_updates import update

__all__ = ["crasher"]

DECOMPRESSION = step("Decompression", CompressionFormat="GZIP")
EXTRACTION = step("CloudWatchLogProcessing", DataMessageExtraction="true")
JSON_PARTS = step("RecordDeAggregation", SubRecordType="JSON")
BY_KEY = partitioned("c=!{partitionKeyFromQuery:c}/")


def logs(*messages: str, kind: str = "DATA_MESSAGE") -> bytes:
    """What CloudWatch Logs puts."""
    return gzip.compress(
        json.dumps(
            {
                "messageType": kind,
                "owner": "000000000000",
                "logGroup": "/aws/lambda/f",
                "logStream": "2026/01/01/[$LATEST]x",
                "subscriptionFilters": ["all"],
                "logEvents": [
                    {"id": f"{n:056d}", "timestamp": 1_700_000_000_000 + n, "message": message}
                    for n, message in enumerate(messages)
                ],
            }
        ).encode()
    )


def errors(house: House, kind: str) -> list[dict[str, Any]]:
    found = [content for name, content in house.objects().items() if kind in name]
    return [json.loads(line) for content in found for line in content.splitlines()]


async def test_log_messages_are_decompressed_and_extracted(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.create(**processing(DECOMPRESSION, EXTRACTION))
        sent = [logs("one", "two"), logs("", kind="CONTROL_MESSAGE"), logs('{"three": "é"}')]
        records = [{"Data": record} for record in sent]
        await house.call("PutRecordBatch", DeliveryStreamName="flights", Records=records)
        await house.until(house.delivered, step_s=10)
        assert list(house.objects().values()) == ['one\ntwo\n{"three": "é"}\n'.encode()]
        assert house.settled() == 3


async def test_without_extraction_the_envelope_stays(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.create(**processing(DECOMPRESSION, NEWLINES))
        await house.put("firehose/flights", [logs("one") + logs("two")])
        await house.until(house.delivered, step_s=10)
        (content,) = house.objects().values()
        assert content.count(b'"messageType": "DATA_MESSAGE"') == 2


async def test_what_is_not_compressed_goes_to_the_error_output_as_it_was(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(PLAIN_SIZE_MAX + 1))
    bad = [b"plain", b"", logs("x")[:-9], b"\x1f\x8b\x08nonsense", gzip.compress(b"no envelope"), bomb]
    async with House(tmp_path) as house:
        await house.create(**processing(DECOMPRESSION, EXTRACTION))
        await house.put("firehose/flights", [logs("good"), *bad])
        await house.until(house.delivered, step_s=10)
        lines = errors(house, "decompression-failed/2023/11/14/22/")
        assert [base64.b64decode(line["rawData"]) for line in lines] == bad
        assert {line["errorCode"] for line in lines} == {"DecompressionFailed"}
        words = [line["errorMessage"] for line in lines]
        assert [text.partition(":")[0] for text in words[:4]] == ["The record is not in gzip format"] * 4
        assert words[4].startswith("The record does not hold log events of CloudWatch Logs")
        assert words[5] == "The record has more than 16 MB when decompressed"
        assert b"good\n" in house.objects().values()


async def test_only_gzip_may_be_put(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.create(**processing(DECOMPRESSION))
        for operation, request in (
            ("PutRecord", {"Record": {"Data": b"plain"}}),
            ("PutRecordBatch", {"Records": [{"Data": logs("x")}, {"Data": b"plain"}]}),
        ):
            with pytest.raises(RequestError, match="Only requests from CloudWatch Logs are supported") as raised:
                await house.call(operation, DeliveryStreamName="flights", **request)
            assert raised.value.code == "InvalidSourceException"


PARTS: list[tuple[bytes, list[bytes] | None]] = [
    (b'{"a":1}{"a":2}', [b'{"a":1}', b'{"a":2}']),
    (b' {"a":1}\n\n{"b":{"c":"}{"}} ', [b'{"a":1}', b'{"b":{"c":"}{"}}']),
    (b'{"a":"\\"}{"}', [b'{"a":"\\"}{"}']),
    (b'[{"a":1},{"a":2}]', None),
    (b'{"a":1} text', None),
    (b'"text" {"a":1}', None),
    (b'{"a":1', None),
    (b"}{", None),
    (b"", None),
    (b'{"a":1}' * 499, [b'{"a":1}'] * 499),
    (b'{"a":1}' * 500, None),
]


@pytest.mark.parametrize(("blob", "parts"), PARTS, ids=range(len(PARTS)))
def test_json_objects_in_a_row(blob: bytes, parts: list[bytes] | None) -> None:
    assert _sub_records(blob, Splitting(sub_records="JSON")) == (parts or [blob])


@given(st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=5) | st.integers(), max_size=3), max_size=6))
def test_any_objects_come_apart_as_they_went_together(objects: list[dict[str, Any]]) -> None:
    blobs = [msgspec.json.encode(one) for one in objects]
    assert _sub_records(b"".join(blobs), Splitting(sub_records="JSON")) == (blobs or [b""])


@pytest.mark.parametrize(
    ("blob", "parts"), [(b"a|b|", [b"a", b"b"]), (b"a||b", [b"a", b"", b"b"]), (b"a", [b"a"]), (b"", [b""])]
)
def test_delimited_parts(blob: bytes, parts: list[bytes]) -> None:
    assert _sub_records(blob, Splitting(sub_records="DELIMITED", delimiter=b"|")) == parts


async def test_the_parts_of_one_record_go_to_many_partitions(tmp_path: Path) -> None:
    async with House(tmp_path, firehose_compat="emulator") as house:
        await house.create(**BY_KEY, **processing(JSON_PARTS, query("{c: .c}"), NEWLINES))
        blob = b'{"c":"a","n":1}{"c":"b","n":2}\n{"c":"a","n":3}{"d":4}'
        await house.put("firehose/flights", [blob, b"no json"])
        await house.until(house.delivered, step_s=10)
        folders = {name.partition("/")[0]: content for name, content in house.objects().items()}
        assert folders["c=a"] == b'{"c":"a","n":1}\n{"c":"a","n":3}\n'
        assert folders["c=b"] == b'{"c":"b","n":2}\n'
        raw = [base64.b64decode(line["rawData"]) for line in errors(house, "metadata-extraction-failed")]
        assert raw == [b'{"d":4}', b"no json"]
        assert house.settled() == 2


async def test_aggregates_of_the_kpl_reach_function_and_object_as_records(tmp_path: Path) -> None:
    async with House(tmp_path, functions={"echo": "tests.firehose.functions:echo_event"}) as house:
        await house.client.create_stream("air")
        await house.create(kinesis="air", **processing(function("echo"), NEWLINES))
        aggregate = encode([UserRecord("AA", b"one"), UserRecord("UA", b"two")])
        await house.put("air", [aggregate, b"three"], ["x", "DL"])
        await house.until(house.delivered, step_s=10)
        (content,) = house.objects().values()
        event, *rest = content.splitlines()
        records = json.loads(event)["records"]
        assert [base64.b64decode(record["data"]) for record in records] == [b"one", b"two", b"three"]
        assert rest == [b"two", b"three"]
        metadata = [record["kinesisRecordMetadata"] for record in records]
        assert [one["partitionKey"] for one in metadata] == ["AA", "UA", "DL"]
        assert [one["subsequenceNumber"] for one in metadata] == ["0", "1", "0"]
        assert metadata[0]["sequenceNumber"] == metadata[1]["sequenceNumber"] != metadata[2]["sequenceNumber"]
        assert len({record["recordId"] for record in records}) == 3


async def test_parts_that_are_settled_are_not_delivered_again(tmp_path: Path) -> None:
    """One partition is full and goes; the process ends; the other parts of the same records come after it."""
    house = House(tmp_path, firehose_compat="emulator")
    async with house:
        await house.create(interval=900, **BY_KEY, **processing(JSON_PARTS, query("{c: .c}"), NEWLINES))
        large = b'{"c":"big","x":"%s"}' % (b"x" * 300_000)
        await house.put("firehose/flights", [large + b'{"c":"small","n":%d}' % n for n in range(4)])
        await house.until(house.delivered)
        assert {name.partition("/")[0] for name in house.objects()} == {"c=big"}
        assert house.settled() == 0
    async with house:
        await house.until(lambda: house.settled() == 4, step_s=100)
        counts: dict[str, int] = defaultdict(int)
        for name, content in house.objects().items():
            counts[name.partition("/")[0]] += content.count(b"\n")
        assert counts == {"c=big": 4, "c=small": 4}


async def test_another_way_to_take_apart_begins_anew(tmp_path: Path) -> None:
    """What was delivered in part is delivered again: twice rather than never."""
    async with House(tmp_path, firehose_compat="emulator") as house:
        await house.create(interval=900, **BY_KEY, **processing(JSON_PARTS, query("{c: .c}"), NEWLINES))
        large = b'{"c":"big","x":"%s"}' % (b"x" * 1_000_000)
        await house.put("firehose/flights", [large + b'\n{"c":"small"}', b'{"c":"big","x":"%s"}' % (b"x" * 60_000)])
        await house.until(house.delivered)
        lines = step("RecordDeAggregation", SubRecordType="DELIMITED", Delimiter="Cg==")
        await update(house, ProcessingConfiguration={"Processors": [lines, query("{c: .c}"), NEWLINES]})
        await house.until(lambda: house.settled() == 2, step_s=100)
        assert sum(content.count(large) for content in house.objects().values()) == 2
        assert b'{"c":"small"}\n' in house.objects().values()


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=12),
    st.lists(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 4)), min_size=1), max_size=8),
    st.integers(0, 5),
)
def test_the_ledger_knows_parts(counts: list[int], plans: list[list[tuple[int, int]]], low: int) -> None:
    ledger, model = Ledger(low), {(offset, sub) for offset in range(low) for sub in range(5)}
    for plan in plans:
        chosen = sorted({(o, s) for o, s in plan if o < len(counts) and s < counts[o]})
        if not chosen:
            continue
        offsets, subs = np.array(chosen, np.int64).T
        ledger.settle(Coverage.of_parts("s", offsets, subs.astype(np.int32), np.array(counts, np.int32)[offsets]))
        model |= set(chosen)
    places = [(offset, sub) for offset, count in enumerate(counts) for sub in range(count)]
    whole = [all((offset, sub) in model for sub in range(count)) for offset, count in enumerate(counts)]
    again = Ledger(ledger.low)
    ahead = ledger.ahead("s")
    if ahead is not None:
        again.settle(ahead)
    for one in (ledger, again, ledger.copy()):
        assert one.settled(0, len(counts)).tolist() == whole
        open_ = [place for place in places if not whole[place[0]]]
        if open_:
            offsets, subs = np.array(open_, np.int64).T
            assert one.unsettled_parts(offsets, subs).tolist() == [place not in model for place in open_]
    ledger.forget_parts()
    assert ledger.settled(0, len(counts)).tolist() == whole


async def test_every_part_is_in_exactly_one_object_through_crashes(tmp_path: Path, crasher: Crasher, seed: int) -> None:
    randomness = random.Random(seed)
    house = new_house(tmp_path, crasher)
    async with house:
        await house.client.create_stream("air", 2)
        await house.create(kinesis="air", interval=30, **BY_KEY, **processing(JSON_PARTS, query("{c: .c}"), NEWLINES))
    sent: list[bytes] = []
    for _ in range(20):
        crasher.arm(randomness.randrange(1, 40))
        try:
            await house.open()
            for _ in range(4):
                parts = [b'{"c":"%d","n":%d}' % (randomness.randrange(3), len(sent) + n) for n in range(20)]
                cuts = sorted(randomness.sample(range(1, 20), 3))
                blobs = [b"".join(parts[a:b]) for a, b in itertools.pairwise([0, *cuts, 20])]
                await house.put("air", blobs)
                sent += parts
                house.clock.advance(randomness.choice((1, 10, 31)))
                await asyncio.sleep(0.01)
        except Crash:
            pass
        await die(house)
    crasher.arm(10**9)
    async with house:
        house.clock.advance(61)
        (stream,) = house.streams()
        tips = (await house.client.fetch("air", stream.main.positions())).tips
        await house.until(lambda: stream.main.positions() == tips and not stream.main.plans, step_s=20)
        assert not house.findings()
    assert Counter(b"".join(house.objects().values()).splitlines()) == Counter(sent)
