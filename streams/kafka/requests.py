"""Produce requests that copy their batches once, into the bytes that go to the socket.

aiokafka makes a request from the inside out, and each of its eight layers copies all that is in it: of a megabyte some
milliseconds, on the event loop. Here a request is a list of pieces, of which the last layer makes bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import Any

from aiokafka.producer.sender import SendProduceReqHandler
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.types import Int16, Int32, String

from streams.kafka.batches import Outgoing, Piece

_text = String("utf-8").encode


def copy_once(producer: Any) -> None:
    """What this aiokafka producer sends, all of which are `Outgoing`, is copied once."""
    sender = producer._sender

    async def send(node: int, batches: dict[Any, Any]) -> None:
        await _Handler(sender, batches).do(node)
        sender._in_flight.remove(node)
        for place in batches:
            sender._muted_partitions.remove(place)

    sender._send_produce_req = send


class _Handler(SendProduceReqHandler):
    def create_request(self) -> Any:
        topics: defaultdict[str, list[tuple[int, Outgoing]]] = defaultdict(list)
        for place, batch in self._batches.items():
            topics[place.topic].append((place.partition, batch._builder))
        return _Request(None, self._sender._acks, self._sender._request_timeout_ms, list(topics.items()))


class _Request(ProduceRequest):
    def build(self, request_struct_class: type) -> Any:
        return super().build(_in_pieces(request_struct_class))


@cache
def _in_pieces(kind: Any) -> type:
    """The same version of the request, encoded in pieces."""

    class Request(kind):
        def encode(self) -> _Pieces:
            transactional = _text(self.transactional_id) if "transactional_id" in kind.SCHEMA.names else b""
            pieces: list[Piece] = [
                transactional + Int16.encode(self.required_acks) + Int32.encode(self.timeout),
                Int32.encode(len(self.topics)),
            ]
            for topic, batches in self.topics:
                pieces.append(_text(topic) + Int32.encode(len(batches)))
                for partition, batch in batches:
                    pieces += [Int32.encode(partition) + Int32.encode(batch.size()), *batch.pieces()]
            return _Pieces(pieces)

        def __repr__(self) -> str:
            return f"{kind.__name__}({[(topic, [place for place, _ in batches]) for topic, batches in self.topics]})"

    return Request


class _Pieces:
    """Stands for the bytes of a request while a connection puts its header and its size before them."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        self._size = sum(map(len, pieces))

    def __len__(self) -> int:
        return self._size

    def __radd__(self, header: bytes) -> _Headed:
        return _Headed([header, *self._pieces])


class _Headed(_Pieces):
    def __radd__(self, size: bytes) -> bytes:  # type: ignore[override]
        return b"".join((size, *self._pieces))
