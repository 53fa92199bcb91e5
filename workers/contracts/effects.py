"""What a failure of an activity says of its effect on the outside: did it happen?

An ordinary failure leaves that open, whatever its type and its attempt number: the answer may have been lost,
and an operator can reset attempts. It did not happen only where the gateway says so: it raises an
EffectRefused, because the service holds nothing under this idempotency key and will not do it.
"""

from __future__ import annotations

from typing import Any

from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError

EFFECT_REFUSED = "EffectRefused"
"""The type of a failure after which nothing has happened and nothing is to be undone."""


def effect_refused(message: str, *details: Any, type: str = EFFECT_REFUSED) -> ApplicationError:  # noqa: A002
    """The non-retryable failure of a gateway that knows: nothing is done under this idempotency key.

    `type`: the failure's type, for workflow code that tells refusals apart (PaymentDeclined). The marker is
    the first of the details, `details` follow it.
    """
    return ApplicationError(message, EFFECT_REFUSED, *details, type=type, non_retryable=True)


def refuses_effect(error: BaseException | None) -> bool:
    """Does this failure of an activity or a child say that the effect did not happen?"""
    while isinstance(error, ActivityError | ChildWorkflowError):
        error = error.cause
    return isinstance(error, ApplicationError) and (
        error.type == EFFECT_REFUSED or EFFECT_REFUSED in error.details[:1]
    )
