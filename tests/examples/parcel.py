"""A parcel: every scan is an event; it ends when it is delivered, or when nobody has seen it for two days."""

from __future__ import annotations

from temporalio import activity

from workers.patterns.events.messages import Effect, EventDrivenInput

TOLD: dict[str, str] = {}


@activity.defn(no_thread_cancel_exception=True)
def tell_customer(effect: Effect) -> None:
    TOLD.setdefault(effect.idempotency_key, f"Your parcel is in {effect.payload['payload']['town']}.")


PARCEL = EventDrivenInput(
    effects={"scanned": "tell_customer", "delivered": "tell_customer"},
    completed_by=["delivered"],
    inactivity_seconds=2 * 86_400,
)
