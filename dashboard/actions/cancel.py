"""Cancel: by the workflow's own signal, which compensates what was done, or by Temporal's cancellation where
a workflow has no such signal, and would silently drop one."""

from __future__ import annotations

from dashboard.access import Permission
from dashboard.extend import Action, Offer, Target, register
from dashboard.forms import ReasonRequired
from workers.contracts import Signal
from workers.registry.registry import RegistryError, registry

PERMISSION = Permission("cancel workflows", frozenset({"operator"}))


def _has_signal(target: Target) -> bool:
    """By the workflow's declaration. While no worker answers, types of the registry count as having the
    signal, and others as not."""
    if target.signals is not None:
        return target.declares(Signal.CANCEL)
    try:
        return bool(registry.queue_of(target.workflow_type))
    except RegistryError:
        return False


def _cancel(target: Target) -> Offer | None:
    return Offer() if _has_signal(target) else None


def _request(target: Target) -> Offer | None:
    return None if _has_signal(target) else Offer()


register(
    Action(
        name="cancel",
        signal=Signal.CANCEL,
        label="Cancel",
        done="Cancelled",
        permission=PERMISSION,
        offered=_cancel,
        form=ReasonRequired,
        places=frozenset({"run", "bulk"}),
        tone="stop",
        order=13,
    ),
    Action(
        name="request_cancel",
        signal="",
        label="Request cancellation",
        done="Requested cancellation of",
        permission=PERMISSION,
        offered=_request,
        form=ReasonRequired,
        tone="stop",
        order=14,
    ),
)
