"""The first activity of an order: rules are checked where they can be tested, not in workflow code."""

from __future__ import annotations

from temporalio import activity
from temporalio.exceptions import ApplicationError

from orders.messages import OrderInput, Refusal, Validated
from orders.validation import problems


@activity.defn(no_thread_cancel_exception=True)
def validate_order(order: OrderInput) -> Validated:
    """Raises a non-retryable InvalidOrder with a sentence for each field in its details."""
    found = problems(order)
    if found:
        sentences = "; ".join(f"{field}: {why}" for field, why in list(found.items())[:5])
        raise ApplicationError(sentences, found, type=Refusal.INVALID_ORDER.value, non_retryable=True)
    return Validated(total_minor=order.total_minor)
