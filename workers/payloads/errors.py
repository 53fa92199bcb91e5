"""What can be wrong with a payload. The class names are the `type` of the failures that histories show.

Two families, because the SDK treats them differently. What cannot be *sent* is an ApplicationError that is
not retried: raised in workflow code it fails the workflow, where any other exception would repeat the
workflow task for ever. What cannot be *read* is a plain exception: an ApplicationError raised while the
worker decodes a workflow task would end the workflow for a fault of this one process.
"""

from __future__ import annotations

from temporalio.exceptions import ApplicationError


class PayloadRefused(ApplicationError):
    """A value that is not sent. `message` says what and why; sending it again gets the same answer."""

    def __init__(self, message: str) -> None:
        super().__init__(message, type=type(self).__name__, non_retryable=True)


class SensitiveField(PayloadRefused):
    """A field named like a secret, with PAYLOAD_SECRETS=refuse; the message has its path, never its value."""


class PayloadTooLarge(PayloadRefused):
    """More bytes than PAYLOAD_LIMIT_BYTES in one call, and no claim check to take them."""


class PayloadUnwritable(PayloadRefused):
    """A value that has no JSON, such as an open file."""


class PayloadUnreadable(Exception):
    """A payload that this process cannot read; another worker, or this one after a repair, may."""


class KeyMissing(PayloadUnreadable):
    """Encrypted with a key that is not in this process's ring. `key_id` names it."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        super().__init__(f"PAYLOAD_KEYS has no key {key_id!r}, which this payload was encrypted with.")


class PayloadTampered(PayloadUnreadable):
    """The key is right and the bytes are not: changed on the way, or cut off."""


class PayloadOversized(PayloadUnreadable):
    """It unpacks to more bytes than its reader takes. `limit`: how many those are."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"A payload holds more than {limit:,} bytes.")


class ClaimMissing(PayloadUnreadable):
    """A reference to bytes that the claim-check store does not have."""


class UnknownTag(PayloadUnreadable):
    """A type tag that is not on this process's allow-list."""


_READING = (PayloadUnreadable, KeyMissing, PayloadTampered, PayloadOversized, ClaimMissing, UnknownTag)
UNREADABLE = frozenset(cls.__name__ for cls in _READING)
