"""The events of Nexmark, vectorised and from a seed, in the shape that its authors published.

Of 50 events one is a person, three are auctions and 46 are bids. Ids count from 1000. Half of the bids go to a hot auction
(the first of the last hundred), the others to one of the last hundred or the next ten; three quarters of bidders and sellers
are hot persons, the others one of the last thousand or the next ten. Prices are 10^(6u) dollars, in cents. Event n
happens n / 10,000 s after the beginning. One event in ten is delayed, by up to three seconds: events come as they arrive.

A batch is an Arrow table of `SCHEMA`, whose columns are NULL where the kind of the event has none; `encode` makes records of
it, JSON objects of the columns that the kind has.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.formats.json import encode_json

PERSON, AUCTION, BID = 0, 1, 2

PERIOD, PERSONS, AUCTIONS = 50, 1, 3
RATE = 10_000
"""Events a second of event time."""
BEGIN_MS = 1_436_918_400_000
"""2015-07-15T00:00:00Z, the beginning of all Nexmark events."""
DELAYED = 0.1
DELAY_MS_MAX = 3_000
LATENESS_MS = 4_000
"""How far the published queries' watermark is behind: no delay is longer."""

CHUNK = 100_000
"""Events that are generated at a time: some fifty megabytes."""

_FIRST_ID, _FIRST_CATEGORY, _CATEGORIES = 1_000, 10, 5
_HOT, _HOT_SELLERS, _HOT_AUCTIONS, _HOT_BIDDERS = 100, 4, 2, 4
_ACTIVE_PERSONS, _AUCTIONS_IN_FLIGHT, _LEAD = 1_000, 100, 10
_CHANNELS = 10_000
_PERSON_SIZE, _AUCTION_SIZE, _BID_SIZE = 200, 500, 100
"""Mean bytes of an event, which `extra` fills up to, as its authors count them."""

_FIRST_NAMES = ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"]
_LAST_NAMES = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"]
_CITIES = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
]
_STATES = ["AZ", "CA", "ID", "OR", "WA", "WY"]
_HOT_CHANNELS = ["Google", "Facebook", "Baidu", "Apple"]

_TEXT, _NUMBER, _TIME = pa.string(), pa.int64(), pa.timestamp("ms")
SCHEMA = pa.schema(
    [
        ("event_type", pa.int32()),
        ("id", _NUMBER),
        ("name", _TEXT),
        ("emailAddress", _TEXT),
        ("creditCard", _TEXT),
        ("city", _TEXT),
        ("state", _TEXT),
        ("itemName", _TEXT),
        ("description", _TEXT),
        ("initialBid", _NUMBER),
        ("reserve", _NUMBER),
        ("expires", _TIME),
        ("seller", _NUMBER),
        ("category", _NUMBER),
        ("auction", _NUMBER),
        ("bidder", _NUMBER),
        ("price", _NUMBER),
        ("channel", _TEXT),
        ("url", _TEXT),
        ("dateTime", _TIME),
        ("extra", _TEXT),
    ]
)
_OF_BOTH = ["event_type", "dateTime", "extra"]
_OF_KIND = {
    PERSON: ["id", "name", "emailAddress", "creditCard", "city", "state"],
    AUCTION: [
        "id",
        "itemName",
        "description",
        "initialBid",
        "reserve",
        "expires",
        "seller",
        "category",
    ],
    BID: ["auction", "bidder", "price", "channel", "url"],
}


def events(count: int, seed: int = 1) -> Iterator[pa.Table]:
    """`count` events in tables of about `CHUNK`, in the order in which they arrive."""
    held: pa.Table | None = None
    channels = _channels(np.random.default_rng([seed, 0]))
    for first in range(0, count, CHUNK):
        numbers = np.arange(first, min(first + CHUNK, count))
        random = np.random.default_rng([seed, 1 + first // CHUNK])
        delays = np.where(random.random(len(numbers)) < DELAYED, random.integers(1, DELAY_MS_MAX + 1, len(numbers)), 0)
        arrival = numbers * 1000 / RATE + delays
        rows = _rows(numbers, channels, random).append_column("arrival", pa.array(arrival))
        if held is not None:
            rows = pa.concat_tables([held, rows])
        rows = rows.sort_by("arrival")
        done = len(rows)
        if first + CHUNK < count:
            done = int(np.searchsorted(rows.column("arrival").to_numpy(), (first + CHUNK) * 1000 / RATE))
        held = rows.slice(done)
        yield rows.slice(0, done).drop_columns(["arrival"]).combine_chunks()


def encode(rows: pa.Table) -> pa.Array:
    """Records of JSON (binary), in the order of the rows."""
    kinds = rows.column("event_type").to_numpy()
    parts, places = [], []
    for kind, names in _OF_KIND.items():
        which = np.flatnonzero(kinds == kind)
        if len(which):
            wanted = [field.name for field in SCHEMA if field.name in (*names, *_OF_BOTH)]
            (batch,) = rows.select(wanted).take(pa.array(which)).combine_chunks().to_batches()
            parts.append(encode_json(batch))
            places.append(which)
    return pa.concat_arrays(parts).take(pa.array(np.argsort(np.concatenate(places))))


def _rows(numbers: np.ndarray, channels: tuple[pa.Array, pa.Array], random: np.random.Generator) -> pa.Table:
    """Events of the numbers given, in their order."""
    offset = numbers % PERIOD
    kinds = np.where(offset < PERSONS, PERSON, np.where(offset < PERSONS + AUCTIONS, AUCTION, BID))
    tables, places = [], []
    for kind in (PERSON, AUCTION, BID):
        which = np.flatnonzero(kinds == kind)
        own = numbers[which]
        if kind == PERSON:
            columns = _persons(own, random)
        elif kind == AUCTION:
            columns = _auctions(own, random)
        else:
            columns = _bids(own, channels, random)
        columns |= {
            "event_type": pa.array(np.full(len(own), kind, np.int32)),
            "dateTime": _times(own),
        }
        arrays = [columns.get(field.name, pa.nulls(len(own), field.type)) for field in SCHEMA]
        tables.append(pa.Table.from_arrays(arrays, schema=SCHEMA))
        places.append(which)
    return pa.concat_tables(tables).take(pa.array(np.argsort(np.concatenate(places))))


def _persons(numbers: np.ndarray, random: np.random.Generator) -> dict[str, pa.Array]:
    count = len(numbers)
    card = [_picked([f"{digits:04d}" for digits in range(10_000)], count, random) for _ in range(4)]
    columns = {
        "id": pa.array(_last_person(numbers) + _FIRST_ID),
        "name": _joined(" ", _picked(_FIRST_NAMES, count, random), _picked(_LAST_NAMES, count, random)),
        "emailAddress": _joined("", _words(count, 7, random), "@", _words(count, 5, random), ".com"),
        "creditCard": _joined(" ", *card),
        "city": _picked(_CITIES, count, random),
        "state": _picked(_STATES, count, random),
    }
    sizes = 8 + sum(pc.utf8_length(column).to_numpy() for name, column in columns.items() if name != "id")
    return columns | {"extra": _extra(sizes, _PERSON_SIZE, random)}


def _auctions(numbers: np.ndarray, random: np.random.Generator) -> dict[str, pa.Array]:
    count = len(numbers)
    hot = random.integers(0, _HOT_SELLERS, count) > 0
    seller = np.where(hot, _last_person(numbers) // _HOT * _HOT, _some_person(numbers, random))
    initial = _prices(count, random)
    horizon_ms = _AUCTIONS_IN_FLIGHT * PERIOD // AUCTIONS * 1000 // RATE
    expires = numbers * 1000 // RATE + 1 + random.integers(0, 2 * horizon_ms, count)
    name, description = _words(count, 20, random), _words(count, 100, random)
    sizes = 48 + pc.utf8_length(name).to_numpy() + pc.utf8_length(description).to_numpy()
    return {
        "id": pa.array(_last_auction(numbers) + _FIRST_ID),
        "itemName": name,
        "description": description,
        "initialBid": pa.array(initial),
        "reserve": pa.array(initial + _prices(count, random)),
        "expires": pa.array(BEGIN_MS + expires).cast(_TIME),
        "seller": pa.array(seller + _FIRST_ID),
        "category": pa.array(_FIRST_CATEGORY + random.integers(0, _CATEGORIES, count)),
        "extra": _extra(sizes, _AUCTION_SIZE, random),
    }


def _bids(numbers: np.ndarray, channels: tuple[pa.Array, pa.Array], random: np.random.Generator) -> dict[str, pa.Array]:
    count = len(numbers)
    last = _last_auction(numbers)
    least = np.maximum(last - _AUCTIONS_IN_FLIGHT, 0)
    hot = random.integers(0, _HOT_AUCTIONS, count) > 0
    auction = np.where(hot, last // _HOT * _HOT, least + random.integers(0, last - least + 1 + _LEAD))
    # The second person of a hundred, so that hot bidders are no hot sellers.
    hot = random.integers(0, _HOT_BIDDERS, count) > 0
    bidder = np.where(hot, _last_person(numbers) // _HOT * _HOT + 1, _some_person(numbers, random))
    hot = random.integers(0, 2, count) > 0
    channel = np.where(
        hot,
        random.integers(0, len(_HOT_CHANNELS), count),
        len(_HOT_CHANNELS) + random.integers(0, _CHANNELS, count),
    )
    return {
        "auction": pa.array(auction + _FIRST_ID),
        "bidder": pa.array(bidder + _FIRST_ID),
        "price": pa.array(_prices(count, random)),
        "channel": channels[0].take(pa.array(channel)),
        "url": channels[1].take(pa.array(channel)),
        "extra": _extra(np.full(count, 32), _BID_SIZE, random),
    }


def _channels(random: np.random.Generator) -> tuple[pa.Array, pa.Array]:
    """Names and URLs of the four hot channels, then of all others, nine of ten of which have an id."""
    count = len(_HOT_CHANNELS) + _CHANNELS
    names = _HOT_CHANNELS + [f"channel-{number}" for number in range(_CHANNELS)]
    ids = [""] * len(_HOT_CHANNELS) + [
        f"&channel_id={_reversed(number)}" if with_id else ""
        for number, with_id in enumerate(random.integers(0, 10, _CHANNELS) > 0)
    ]
    parts = [_words(count, 5, random, "_") for _ in range(3)]
    urls = _joined("/", "https://www.nexmark.com", *parts, "item.htm?query=1")
    return pa.array(names), pc.binary_join_element_wise(urls, pa.array(ids), "")


def _reversed(number: int) -> int:
    """The magnitude of the 32-bit number whose bits are those of `number` from behind."""
    turned = int(f"{number:032b}"[::-1], 2)
    return turned if turned < 2**31 else 2**32 - turned


def _last_person(numbers: np.ndarray) -> np.ndarray:
    return numbers // PERIOD


def _last_auction(numbers: np.ndarray) -> np.ndarray:
    epoch, offset = np.divmod(numbers, PERIOD)
    return epoch * AUCTIONS + np.where(offset < PERSONS, -1, np.minimum(offset - PERSONS, AUCTIONS - 1))


def _some_person(numbers: np.ndarray, random: np.random.Generator) -> np.ndarray:
    persons = _last_person(numbers) + 1
    active = np.minimum(persons, _ACTIVE_PERSONS)
    return persons - active + random.integers(0, active + _LEAD)


def _prices(count: int, random: np.random.Generator) -> np.ndarray:
    return np.rint(10 ** (random.random(count) * 6) * 100).astype(np.int64)


def _times(numbers: np.ndarray) -> pa.Array:
    return pa.array(BEGIN_MS + numbers * 1000 // RATE).cast(_TIME)


def _picked(values: list[str], count: int, random: np.random.Generator) -> pa.Array:
    return pa.array(values).take(pa.array(random.integers(0, len(values), count)))


def _joined(separator: str, *parts: pa.Array | str) -> pa.Array:
    return pc.binary_join_element_wise(*parts, separator)


def _words(count: int, size_max: int, random: np.random.Generator, blank: str = " ") -> pa.Array:
    """Three characters at least, fewer than `size_max`; one in thirteen is a `blank`."""
    return pc.utf8_trim_whitespace(_letters(random.integers(3, size_max, count), random, blank))


def _extra(sizes: np.ndarray, mean: int, random: np.random.Generator) -> pa.Array:
    """Letters that fill events of some sizes up to `mean`, give or take a fifth."""
    room = np.maximum(mean - sizes, 0)
    spread = np.rint(room * 0.2).astype(np.int64)
    return _letters(room - spread + random.integers(0, np.maximum(2 * spread, 1)), random)


def _letters(sizes: np.ndarray, random: np.random.Generator, blank: str | None = None) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    letters = random.integers(ord("a"), ord("z") + 1, offsets[-1], np.uint8)
    if blank is not None:
        letters[random.integers(0, 13, offsets[-1], np.uint8) == 0] = ord(blank)
    return pa.Array.from_buffers(_TEXT, len(sizes), [None, pa.py_buffer(offsets), pa.py_buffer(letters)])
