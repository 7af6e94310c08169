"""Sharing the work of a log by the membership of a Kafka consumer group.

The group is named as the log's topic of work, which has a partition for each part and never a record. Kafka's coordinator
says who lives; the member that it makes leader shares the parts out, so that few go over and all have as many. What each
member is told names the address of the process for every part, so requests find their way without another topic.

A part of somebody who lives goes over in two steps, as shards of a consumer group do: whoever has it is no longer told so,
ends what it does, and joins again without it; only then is it given to the next. The part of a process that has died is
given away at once: its session ends when it is not heard of for `session_s`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

from streams.core.balance import balance
from streams.core.brokers import connection_options
from streams.core.errors import LogUnreachable
from streams.core.work import PARTS, Moved
from streams.kafka.address import Address
from streams.kafka.cluster import PATIENCE_S, REQUEST_S, Cluster
from streams.kafka.places import group_of

_logger = logging.getLogger(__name__)

HEARTBEATS = 12
"""Heartbeats in a session: the last one before a death may be a twelfth of it old, and one in a while may be lost."""

SILENT_SESSIONS = 1.5
"""Sessions without an answer after which this process takes itself to be out: one that joins waits for up to a session."""

AGAIN_S = 1.0
"""Before a part is begun again that somebody else has written to, so that two who mistake each other do not fight."""

# It warns of each rebalance, which is nothing to warn of; what matters of the rest, `trouble` says.
logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.CRITICAL)

_VERSION = 0


class Member(msgspec.Struct, frozen=True):
    """What a process says of itself when it joins: where it answers, the parts that it has, since which `round` of sharing
    out, and whether it takes any."""

    address: str
    held: tuple[int, ...] = ()
    round: int = 0
    works: bool = True


class Shared(msgspec.Struct, frozen=True):
    """What all are told: the address of each part's process, "" where nobody has it yet; and the count of the round."""

    owners: tuple[str, ...]
    round: int


_member = msgspec.msgpack.Decoder(Member).decode
_shared = msgspec.msgpack.Decoder(Shared).decode
_encode = msgspec.msgpack.Encoder().encode


def share_out(members: Mapping[str, Member]) -> tuple[dict[str, list[int]], Shared]:
    """The parts of each member, and what all are told. A part that is to leave a member which lives is nobody's in this
    round."""
    holders: dict[int, str] = {}
    # Of two that say they have a part, one was away and does not know yet: the one of the earlier round.
    for name, member in sorted(members.items(), key=lambda one: (one[1].round, one[0])):
        holders.update(dict.fromkeys(member.held, name))
    target = balance(range(PARTS), holders, [name for name, member in members.items() if member.works])
    given: dict[str, list[int]] = {name: [] for name in members}
    owners = [""] * PARTS
    for part, name in target.items():
        if holders.get(part, name) == name:
            given[name].append(part)
            owners[part] = members[name].address
    return given, Shared(tuple(owners), 1 + max(member.round for member in members.values()))


class _Coordinator(GroupCoordinator):
    """Notes when the group last heard of this process."""

    heard_s = 0.0

    async def _do_heartbeat(self) -> bool:
        heard = bool(await super()._do_heartbeat())
        if heard:
            self.heard_s = asyncio.get_running_loop().time()
        return heard


class Membership:
    """`streams.core.work.Work` over Kafka. `open` it, `start` it with who is told of changes, `close` it."""

    name = "headrace"
    """Of the protocol, as Kafka knows it."""

    def __init__(self, address: Address, folder: Path, *, works: bool, session_s: float) -> None:
        self.topic = group_of(address.prefix)
        self._advertise = ""
        self._note = folder / "member.json"
        self._works = works
        self._session_s = session_s
        self._client = AIOKafkaClient(
            bootstrap_servers=list(address.brokers),
            client_id="headrace",
            request_timeout_ms=round(REQUEST_S * 1000),
            retry_backoff_ms=100,
            **connection_options(address.security),
        )
        self._subscription = SubscriptionState()
        self._coordinator: _Coordinator | None = None
        self._moved: Moved | None = None
        self._held: frozenset[int] = frozenset()
        self._moves: frozenset[int] = frozenset()
        """Parts whose work is just ending here, or beginning."""
        self._again: frozenset[int] = frozenset()
        self._told = Shared(("",) * PARTS, 0)
        self._given: frozenset[int] = frozenset()
        self._change = asyncio.Event()
        self._assigned = asyncio.Event()
        self._moving: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, address: Address, cluster: Cluster, folder: Path, *, works: bool = True, session_s: float = 10.0
    ) -> Membership:
        """`folder` is this process's own. Raises `LogUnreachable`."""
        membership = cls(address, folder, works=works, session_s=session_s)
        await cluster.create(membership.topic, PARTS)
        try:
            await membership._client.bootstrap()
        except KafkaError as error:
            await membership._client.close()
            raise LogUnreachable(f"no broker answers: {error}") from error
        return membership

    async def start(self, advertise: str, moved: Moved) -> None:
        """Begins to be a member; `moved` is told of what is this one's once it is. `advertise` is the URL at which other
        processes reach it."""
        self._advertise = advertise
        self._moved = moved
        await self._bury()
        self._subscription.subscribe(topics={self.topic})
        self._client.set_topics({self.topic})
        session_ms = round(self._session_s * 1000)
        self._coordinator = _Coordinator(
            self._client,
            self._subscription,
            group_id=self.topic,
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=session_ms,
            heartbeat_interval_ms=max(100, session_ms // HEARTBEATS),
            enable_auto_commit=False,
            assignors=(self,),
            max_poll_interval_ms=math.inf,  # nothing is polled
        )
        self._coordinator.heard_s = asyncio.get_running_loop().time()
        self._moving = asyncio.create_task(self._move(), name="the parts of the work")

    async def _bury(self) -> None:
        """What ran in this folder before and did not come to its end is a member still: nobody need wait for its session
        to end."""
        try:
            group, member = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return
        self._note.unlink(missing_ok=True)
        if group != self.topic:
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                node = await self._client.coordinator_lookup(CoordinationType.GROUP, group)
                await self._client.ready(node, group=ConnectionGroup.COORDINATION)
                await self._client.send(node, LeaveGroupRequest(group, member), group=ConnectionGroup.COORDINATION)
        except (KafkaError, TimeoutError) as error:
            _logger.warning("the member %s of %s is left to its session: %r", member, group, error)

    async def hold(self) -> None:
        """No more changes are told, though this process stays a member until `close`: it is about to stop."""
        moving, self._moving = self._moving, None
        if moving is not None:
            moving.cancel()
            await asyncio.gather(moving, return_exceptions=True)

    async def close(self) -> None:
        """Leaves the group: what this process had is others' at once. Whoever was told of changes has ended its work."""
        await self.hold()
        if self._coordinator is not None:
            try:
                async with asyncio.timeout(5):
                    await self._coordinator.close()
            except (KafkaError, TimeoutError) as error:
                _logger.warning("the group %s could not be left: %r", self.topic, error)
            else:
                self._note.unlink(missing_ok=True)
        await self._client.close()

    # What others ask -------------------------------------------------------------------------------------------------

    def mine(self, part: int) -> bool:
        return part in self._held and self.trouble() is None

    def owner(self, part: int) -> str | None:
        return self._told.owners[part] or None

    async def change(self) -> None:
        await self._change.wait()

    def trouble(self) -> str | None:
        if self._coordinator is None:
            return None
        silent_s = asyncio.get_running_loop().time() - self._coordinator.heard_s
        if silent_s <= SILENT_SESSIONS * self._session_s:
            return None
        return (
            f"fenced: the group {self.topic} has not heard of this process for {silent_s:.0f} s, and others do its work"
        )

    # An assignor of aiokafka's ----------------------------------------------------------------------------------------

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        said = Member(self._advertise, tuple(sorted(self._held | self._moves)), self._told.round, self._works)
        return ConsumerProtocolMemberMetadata(_VERSION, list(topics), _encode(said))

    def assign(
        self, cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        given, shared = share_out({name: _member(one.user_data) for name, one in members.items()})
        told = _encode(shared)
        return {
            name: ConsumerProtocolMemberAssignment(_VERSION, [(self.topic, parts)], told)
            for name, parts in given.items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        assert self._coordinator is not None, "who is given parts has joined"
        self._coordinator.heard_s = asyncio.get_running_loop().time()
        self._told = _shared(assignment.user_data)
        self._given = frozenset(place.partition for place in assignment.partitions())
        self._note.write_text(json.dumps([self.topic, self._coordinator.member_id]))
        self._changed()
        self._assigned.set()

    async def _move(self) -> None:
        """Ends and begins work as this process is told, one change after the other."""
        assert self._moved is not None, "started"
        await self._assigned.wait()
        while True:
            change = self._change
            again, self._again = self._again & self._held & self._given, frozenset()
            if again:
                await asyncio.sleep(AGAIN_S)
            lost, won = self._held - self._given, self._given - self._held
            if lost or won or again:
                self._moves = lost | won
                self._held -= lost | again
                await self._moved(lost | again, won | again)
                self._held |= won | again
                self._moves = frozenset()
                if lost:
                    self._subscription.subscribe(topics={self.topic})  # joins again: what was given up may go on
            await change.wait()

    def begin_again(self, part: int) -> None:
        """Another process has written to what is this one's, as one does that was away and does not know it: whoever the
        part belongs to takes it anew."""
        self._again |= {part}
        self._changed()

    def _changed(self) -> None:
        change, self._change = self._change, asyncio.Event()
        change.set()
