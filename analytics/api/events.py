"""The journal of applications: events as msgpack maps with their kind under ``event``, and the snapshot of them all.

    Created   an application exists, ready to be started
    Changed   it is under its next version
    Tagged    its tags are these
    Started   it is to run, from these places on
    Stopped   it is not to run
    StateKept   whoever goes on with it finds its state in the depot under this name
    Deleting  it ends, and what it keeps goes
    Deleted   it is gone

Inputs, outputs, reference data and logging options are AWS's structures of the first API, each with its id under ``Id``
and, where versions may tell them apart, ``Number``. An unknown kind or a field that does not fit stops the start with an
error: a newer version wrote it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec


class Configuration(msgspec.Struct, frozen=True):
    """What a version of an application is. `role` is the one of the second API, whose applications have one for all."""

    code: str = ""
    description: str | None = None
    inputs: tuple[dict[str, Any], ...] = ()
    outputs: tuple[dict[str, Any], ...] = ()
    references: tuple[dict[str, Any], ...] = ()
    logging: tuple[dict[str, Any], ...] = ()
    role: str | None = None
    numbers: int = 0
    """Outputs that were ever made: the next one has this number."""


class Begin(msgspec.Struct, frozen=True):
    """Where an input begins: AWS's starting position, and for NOW the time of it. `resumed`: it was last started where it
    had stopped."""

    position: str
    at_ms: int
    resumed: bool = False

    @property
    def asked(self) -> str:
        """The starting position of the last start."""
        return "LAST_STOPPED_POINT" if self.resumed else self.position


class _Event(msgspec.Struct, frozen=True, tag_field="event"):
    number: int
    at_ms: int


class Created(_Event, frozen=True, kw_only=True):
    """`number` is never used again, so an application under an old name shares nothing with its predecessor."""

    account: str
    region: str
    name: str
    configuration: Configuration
    tags: dict[str, str] = {}


class Changed(_Event, frozen=True):
    """`anew`: what it reads is another stream, so that positions in the old one mean nothing."""

    configuration: Configuration
    anew: bool = False


class Tagged(_Event, frozen=True):
    """`tags` are all of them."""

    tags: dict[str, str]


class Started(_Event, frozen=True):
    """`begins` by input id. Unless all of them say LAST_STOPPED_POINT, the state is begun anew."""

    begins: dict[str, Begin]


class Stopped(_Event, frozen=True):
    pass


class StateKept(_Event, frozen=True):
    name: str


class Deleting(_Event, frozen=True):
    pass


class Deleted(_Event, frozen=True):
    pass


Event: TypeAlias = Created | Changed | Tagged | Started | Stopped | StateKept | Deleting | Deleted


class Version(msgspec.Struct, frozen=True):
    number: int
    at_ms: int
    configuration: Configuration


class ApplicationSnapshot(msgspec.Struct, frozen=True):
    """One application: `created` with its tags as they are now, and its versions, the last one in force."""

    created: Created
    versions: tuple[Version, ...]
    updated_ms: int
    begins: dict[str, Begin]
    running: bool
    generation: int
    deleting: bool
    state: str = ""


class Snapshot(msgspec.Struct, frozen=True):
    next_number: int
    applications: tuple[ApplicationSnapshot, ...]


encode = msgspec.msgpack.Encoder().encode
decode_event = msgspec.msgpack.Decoder(Event).decode
decode_snapshot = msgspec.msgpack.Decoder(Snapshot).decode
