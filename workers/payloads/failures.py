"""Failures on the wire: encrypted like everything else, clear about payloads, and never lost for their
details.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError

from workers.payloads.errors import PayloadRefused, PayloadUnreadable, SensitiveField
from workers.payloads.redaction import redact
from workers.payloads.validation import explained, verdict_of

_UNDECODED = "Failed decoding "  # how the SDK's failure begins, which has neither a type nor a class


class PayloadFailures(DefaultFailureConverter):
    """An activity's input that its type refuses becomes an InvalidInput. One that this worker cannot read
    becomes a failure of that type, which the SDK does not retry, as attempts are the business's: the workflow
    schedules the activity again (workers/interceptors/payloads.py)."""

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """See base class."""
        if not isinstance(payload_converter, _Details):
            payload_converter = _Details(payload_converter)
        super().to_failure(_described(exception), payload_converter, failure)


class EncryptedFailures(PayloadFailures):
    """Message and stack trace go through the codec too; the history says "Encoded failure"."""

    def __init__(self) -> None:
        DefaultFailureConverter.__init__(self, encode_common_attributes=True)


def _described(exception: BaseException) -> BaseException:
    """What to say instead of the SDK's untyped failure of decoding, which would use up an attempt."""
    cause = exception.__cause__
    if cause is None or not isinstance(exception, ApplicationError):
        return exception
    if exception.type is not None or not exception.message.startswith(_UNDECODED):
        return exception
    if verdict := verdict_of(cause):
        return explained(verdict, "The activity")
    kind = type(cause) if isinstance(cause, PayloadUnreadable) else PayloadUnreadable
    return ApplicationError(str(cause), type=kind.__name__, non_retryable=True)


class _Details(PayloadConverter):
    """Details that may not go out are hidden or named: refusing them would hide the failure itself."""

    def __init__(self, inner: PayloadConverter) -> None:
        self._inner = inner

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        try:
            return self._inner.to_payloads(values)
        except SensitiveField:
            return self.to_payloads(redact(list(values)))
        except PayloadRefused as error:
            return self._inner.to_payloads([f"left out: {error.message}"])

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        return self._inner.from_payloads(payloads, type_hints)
