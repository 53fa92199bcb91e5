"""What is done to every payload on its way: compress, then encrypt; and back, whatever it was done with.

Reading never depends on settings: what was written while compression or encryption was on is read when it
is off (with the key in the ring), and what was written before is read after. Payloads of other encodings
pass.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from workers.conf import WorkersConf
from workers.payloads import compression, encryption
from workers.payloads.encryption import KeyRing
from workers.payloads.errors import KeyMissing, PayloadTampered

logger = logging.getLogger(__name__)

_LARGE = 256 * 1024  # bytes; from there on a thread does the work, as the event loop would stand still
_LARGE_PACKED = 16 * 1024  # the same for what is compressed: it may unpack to a thousand times as much
_LAYERS = 4  # ours are two; a payload that claims more was not made by us


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
            if payload.metadata.get("encoding") in _OURS
            else payload
            for payload in payloads
        ]

    def encode_one(self, payload: Payload) -> Payload:
        return self.ring.encrypted(compression.compressed(payload) if self.compress else payload)

    def decode_one(self, payload: Payload) -> Payload:
        for _ in range(_LAYERS):
            encoding = payload.metadata.get("encoding")
            if encoding == encryption.ENCODING:
                payload = self._decrypted(payload)
            elif encoding == compression.ENCODING:
                payload = compression.decompressed(payload)
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


_OURS = (encryption.ENCODING, compression.ENCODING)


async def _in_thread_if_large(work: Callable[[Payload], Payload], payload: Payload) -> Payload:
    packed = payload.metadata.get("encoding") == compression.ENCODING
    if len(payload.data) < (_LARGE_PACKED if packed else _LARGE):
        return work(payload)
    return await asyncio.to_thread(work, payload)
