"""Encryption at rest: the bodies of frames, sealed with AES-256-GCM.

    sealed body := session  16 bytes, random, of the opening of the log that wrote it
                   counter  u64, of the frame within the session
                   size     u64, of what follows
                   sealed   ciphertext and the tag of 16 bytes, then zeros to 8 bytes

A session's key is HKDF-SHA256 of the master key with the session as salt, so that the counter can be the nonce: no two
frames under one key have the same, whatever crashes. What the header says of the records, and the shard's name, are under
the tag too: a frame that was moved to another shard or offset does not open.

What stays readable: names of shards, offsets, counts, sizes, times, and in sidecars the names of producers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import os
import struct
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from streams.core.errors import LogCorrupt, SettingsError

KEY_SIZE = 32
SESSIONS_MAX = 256
"""Session keys that are kept: one a start of the server."""

_HEAD = struct.Struct("<16sQQ")
_IDENTITY = struct.Struct("<HQIIIQI")
_TAG_SIZE = 16


class Identity(NamedTuple):
    """What a frame's header says of its records."""

    flags: int
    base: int
    records: int
    key_size: int
    data_size: int
    arrival_ms: int
    mark_size: int


class Keyring:
    """Master keys: the first seals, all open. Each is 32 bytes."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {key_id(key): key for key in keys}
        self.key_id = key_id(keys[0])
        self._session = os.urandom(16)
        self._counter = itertools.count()
        self._sessions: OrderedDict[tuple[int, bytes], AESGCM] = OrderedDict()

    @property
    def ids(self) -> list[int]:
        return list(self._keys)

    def seal(self, shard: str, identity: Identity, body: bytes) -> bytes:
        counter = next(self._counter)
        sealed = self._aead(self.key_id, self._session).encrypt(_nonce(counter), body, _bound(shard, identity))
        return _HEAD.pack(self._session, counter, len(sealed)) + sealed + bytes(-len(sealed) % 8)

    def open(self, shard: str, identity: Identity, id_: int, body: memoryview) -> bytes:
        """Raises `LogCorrupt` where it does not open: the wrong key, or not what was written there."""
        if id_ not in self._keys:
            raise LogCorrupt(f"it is sealed with the key {id_:08x}, which is not among those of the settings")
        try:
            session, counter, size = _HEAD.unpack_from(body)
            sealed = body[_HEAD.size : _HEAD.size + size]
            if len(sealed) != size or size < _TAG_SIZE:
                raise LogCorrupt("it is sealed, and cut short")
            return self._aead(id_, session).decrypt(_nonce(counter), sealed, _bound(shard, identity))
        except (struct.error, InvalidTag) as error:
            raise LogCorrupt("it does not open: it is not what was written there") from error

    def _aead(self, id_: int, session: bytes) -> AESGCM:
        found = self._sessions.get((id_, session))
        if found is None:
            derived = HKDF(SHA256(), KEY_SIZE, session, b"headrace log frames 1").derive(self._keys[id_])
            found = self._sessions[id_, session] = AESGCM(derived)
            while len(self._sessions) > SESSIONS_MAX:
                self._sessions.popitem(last=False)
        return found


class Seal(NamedTuple):
    """A keyring at work for one shard."""

    keyring: Keyring
    shard: str

    def seal(self, identity: Identity, body: bytes) -> bytes:
        return self.keyring.seal(self.shard, identity, body)

    def open(self, identity: Identity, id_: int, body: memoryview) -> bytes:
        return self.keyring.open(self.shard, identity, id_, body)


def keyring(key: str, old: Sequence[str] = ()) -> Keyring | None:
    """Of the settings: `key` seals, `old` ones still open. None where there is no key. Raises `SettingsError`."""
    if not key:
        if old:
            raise SettingsError("encryption_keys_old is set, and encryption_key is not: which key is to seal?")
        return None
    return Keyring([_parse("encryption_key", key), *(_parse("encryption_keys_old", one) for one in old)])


def key_id(key: bytes) -> int:
    """Names a key in headers and files, and says nothing about it."""
    return int.from_bytes(hashlib.sha256(b"headrace key id\0" + key).digest()[:4], "big") or 1


def _parse(setting: str, text: str) -> bytes:
    """``file:PATH`` or the key itself, 32 bytes in base64."""
    if text.startswith("file:"):
        path = Path(text.removeprefix("file:"))
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{setting}: {path} cannot be read: {error}") from error
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_SIZE:
        raise SettingsError(f"{setting} is not {KEY_SIZE} bytes in base64: `openssl rand -base64 {KEY_SIZE}` makes one")
    return key


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "big")


def _bound(shard: str, identity: Identity) -> bytes:
    return _IDENTITY.pack(*identity) + shard.encode()
