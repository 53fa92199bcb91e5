"""The steps of an order and what undoes each.

Every effect happens at most once for its idempotency key, every undo at most once for its undo key. Failures
are ApplicationErrors as in orders/gateways/http.py. They are plain functions and run in the worker's threads.
"""

from __future__ import annotations

from temporalio import activity

from orders.gateways import services
from orders.messages import EffectResult, StepInput, UndoInput
from workers.patterns.breaker.names import guarded


@activity.defn(no_thread_cancel_exception=True)
def reserve_stock(step: StepInput) -> EffectResult:
    return services.reserve(step)


@activity.defn(no_thread_cancel_exception=True)
def release_stock(undo: UndoInput) -> EffectResult:
    return services.undo("stock", undo)


@activity.defn(no_thread_cancel_exception=True)
@guarded("payments")
def charge_payment(step: StepInput) -> EffectResult:
    return services.charge(step)


@activity.defn(no_thread_cancel_exception=True)
def refund_payment(undo: UndoInput) -> EffectResult:
    """Not behind the breaker: money that may have moved goes back as soon as payments take it."""
    return services.undo("payments", undo)


@activity.defn(no_thread_cancel_exception=True)
def book_shipment(step: StepInput) -> EffectResult:
    return services.ship("carrier", step)


@activity.defn(no_thread_cancel_exception=True)
def cancel_shipment(undo: UndoInput) -> EffectResult:
    return services.undo("carrier", undo)


@activity.defn(no_thread_cancel_exception=True)
@guarded("freight")
def book_freight(step: StepInput) -> EffectResult:
    return services.ship("freight", step)


@activity.defn(no_thread_cancel_exception=True)
def cancel_freight(undo: UndoInput) -> EffectResult:
    return services.undo("freight", undo)


@activity.defn(no_thread_cancel_exception=True)
def notify_customer(step: StepInput) -> EffectResult:
    return services.notify(step, "customer")


@activity.defn(no_thread_cancel_exception=True)
def notify_warehouse(step: StepInput) -> EffectResult:
    return services.notify(step, "warehouse")
