"""What is done to every payload on its way: compress, then encrypt; and back, whatever it was done with.

Reading never depends on settings: what was written while compression or encryption was on is read when it
is off (with the key in the ring), and what was written before is read after. Payloads of other encodings
pass.

Compression is by zlib, where it makes a payload smaller. What is inside of `binary/zlib` is the whole payload
with its metadata, so that any other codec's result can be compressed and comes back as it was.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from workers.conf import WorkersConf
from workers.payloads.encryption import ENCRYPTED, KeyRing
from workers.payloads.errors import KeyMissing, PayloadOversized, PayloadTampered
from workers.payloads.limits import limit

logger = logging.getLogger(__name__)

ZLIB = b"binary/zlib"
SMALLEST = 256  # bytes; below, the envelope eats what compression saves
LARGEST = 64 * 1024 * 1024  # bytes that one payload may unpack to: a few kilobytes could claim gigabytes
_THREAD_BYTES = 256 * 1024  # bytes; from there on a thread does the work, as the event loop would stand still
_THREAD_PACKED = 16 * 1024  # the same for what is compressed: it may unpack to a thousand times as much
_LAYERS = 4  # ours are two; a payload that claims more was not made by us


def compressed(payload: Payload) -> Payload:
    """Smaller, or `payload` itself."""
    if len(payload.data) < SMALLEST:
        return payload
    whole = payload.SerializeToString()
    packed = Payload(metadata={"encoding": ZLIB}, data=zlib.compress(whole, level=6))
    return packed if packed.ByteSize() < len(whole) else payload


def decompressed(payload: Payload) -> Payload:
    """Raises PayloadTampered, and PayloadOversized for more than LARGEST bytes, or than the reader takes."""
    unpack, most = zlib.decompressobj(), limit(LARGEST)
    try:
        whole = unpack.decompress(payload.data, most)
        if unpack.unconsumed_tail:
            raise PayloadOversized(most)
        if not unpack.eof:
            raise PayloadTampered("A compressed payload is cut off.")
        return Payload.FromString(whole)
    except (zlib.error, DecodeError) as error:
        raise PayloadTampered("A compressed payload is damaged.") from error


@dataclass(frozen=True)
class Codec(PayloadCodec):
    """Both steps, in order. Search attributes never come here."""

    ring: KeyRing = field(default_factory=KeyRing)
    compress: bool = False

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """See base class."""
        if not self.compress and not self.ring.current:
            return list(payloads)
        return [await _in_thread_if_large(self.encode_one, payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises KeyMissing, PayloadTampered, PayloadUnreadable."""
        return [
            await _in_thread_if_large(self.decode_one, payload)
            if payload.metadata.get("encoding") in (ENCRYPTED, ZLIB)
            else payload
            for payload in payloads
        ]

    def encode_one(self, payload: Payload) -> Payload:
        return self.ring.encrypted(compressed(payload) if self.compress else payload)

    def decode_one(self, payload: Payload) -> Payload:
        for _ in range(_LAYERS):
            encoding = payload.metadata.get("encoding")
            if encoding == ENCRYPTED:
                payload = self._decrypted(payload)
            elif encoding == ZLIB:
                payload = decompressed(payload)
            else:
                return payload
        raise PayloadTampered("A payload is wrapped too many times.")

    def _decrypted(self, payload: Payload) -> Payload:
        try:
            return self.ring.decrypted(payload)
        except KeyMissing as error:
            # The process goes on, and others take over what it cannot read; so the error is logged here.
            logger.error("%s Known here: %s.", error, ", ".join(self.ring.keys) or "none")
            raise


def codec_of(conf: WorkersConf) -> Codec:
    """Compression and encryption as the settings say."""
    keys = conf.payload_keys.get_secret_value() if conf.payload_keys else ""
    return Codec(KeyRing.parse(keys), conf.payload_compression)


async def _in_thread_if_large(work: Callable[[Payload], Payload], payload: Payload) -> Payload:
    packed = payload.metadata.get("encoding") == ZLIB
    if len(payload.data) < (_THREAD_PACKED if packed else _THREAD_BYTES):
        return work(payload)
    return await asyncio.to_thread(work, payload)
