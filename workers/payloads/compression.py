"""Compression by zlib, where it makes a payload smaller.

The encoding is `binary/zlib`, and what is inside is the whole payload with its metadata, so that any other
codec's result can be compressed and comes back as it was.
"""

from __future__ import annotations

import zlib

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload

from workers.payloads.errors import PayloadOversized, PayloadTampered
from workers.payloads.limits import limit

ENCODING = b"binary/zlib"
SMALLEST = 256  # bytes; below, the envelope eats what compression saves
LARGEST = 64 * 1024 * 1024  # bytes that one payload may unpack to: a few kilobytes could claim gigabytes


def compressed(payload: Payload) -> Payload:
    """Smaller, or `payload` itself."""
    if len(payload.data) < SMALLEST:
        return payload
    whole = payload.SerializeToString()
    packed = Payload(metadata={"encoding": ENCODING}, data=zlib.compress(whole, level=6))
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
