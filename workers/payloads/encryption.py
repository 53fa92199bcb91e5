"""AES-256-GCM with a ring of keys.

`PAYLOAD_KEYS=2026b:<base64 of 32 bytes>,2026a:<...>`: the first key encrypts, all of them decrypt. A key that
begins with a minus sign (`-2026a:<...>`) only ever decrypts; with nothing but those, encryption is off and
what was written before stays readable. The metadata of a payload names its key, so keys rotate by putting a
new one first, once every process has it.

What is encrypted is the whole payload with its metadata; the key's id is bound to it as associated data, and
each payload has a random 96-bit nonce before its ciphertext. One key is good for 2**32 payloads; rotate
before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload

from workers.conf import parse_keys
from workers.payloads.errors import KeyMissing, PayloadTampered

ENCRYPTED = b"binary/encrypted"
KEY_ID = "encryption-key-id"
CIPHER = "encryption-cipher"
_NAMES = {CIPHER: b"AES-256-GCM"}
_NONCE = 12  # bytes


def _bound(key_id: str) -> bytes:
    return b"signalbox:" + ENCRYPTED + b":" + key_id.encode()


@dataclass(frozen=True)
class KeyRing:
    """Keys by id; `current` encrypts, and is empty when nothing does."""

    keys: Mapping[str, AESGCM] = field(default_factory=dict, repr=False)
    current: str = ""

    @classmethod
    def parse(cls, text: str) -> KeyRing:
        """From the setting. Raises ValueError with a sentence that holds no key."""
        keys, current = parse_keys(text)
        return cls({key_id: AESGCM(key) for key_id, key in keys.items()}, current)

    def encrypted(self, payload: Payload) -> Payload:
        """`payload` itself when no key encrypts."""
        if not self.current:
            return payload
        nonce = os.urandom(_NONCE)
        ciphertext = self.keys[self.current].encrypt(nonce, payload.SerializeToString(), _bound(self.current))
        metadata = {"encoding": ENCRYPTED, KEY_ID: self.current.encode(), **_NAMES}
        return Payload(metadata=metadata, data=nonce + ciphertext)

    def decrypted(self, payload: Payload) -> Payload:
        """Raises KeyMissing, PayloadTampered."""
        key_id = payload.metadata.get(KEY_ID, b"").decode("utf-8", "replace")
        key = self.keys.get(key_id)
        if key is None:
            raise KeyMissing(key_id[:64])
        try:
            nonce, ciphertext = payload.data[:_NONCE], payload.data[_NONCE:]
            return Payload.FromString(key.decrypt(nonce, ciphertext, _bound(key_id)))
        except (InvalidTag, ValueError, DecodeError) as error:
            raise PayloadTampered(
                f"A payload encrypted with key {key_id!r} was changed or cut off."
            ) from error
