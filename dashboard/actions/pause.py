"""Pause a batch, and let it resume."""

from __future__ import annotations

from dashboard.access import Permission
from dashboard.extend import Action, Group, Offer, Target, register
from dashboard.forms import ReasonRequired
from workers.contracts import Progress, Query, Signal

PERMISSION = Permission("pause and resume workflows", frozenset({"operator"}))
GROUP = Group("Pause and resume", "While it is paused, work in progress is finished and nothing new begins.")


def _offered(target: Target, signal: Signal, *, paused: bool) -> Offer | None:
    """The one that changes something; both where it is not known whether it is paused."""
    status = target.answer(Query.PROGRESS, Progress)
    return Offer() if target.declares(signal) and (status is None or status.paused is paused) else None


register(
    Action(
        name="pause",
        signal=Signal.PAUSE,
        label="Pause",
        done="Paused",
        permission=PERMISSION,
        offered=lambda target: _offered(target, Signal.PAUSE, paused=False),
        form=ReasonRequired,
        group=GROUP,
        order=40,
    ),
    Action(
        name="unpause",
        signal=Signal.UNPAUSE,
        label="Resume",
        done="Resumed",
        permission=PERMISSION,
        offered=lambda target: _offered(target, Signal.UNPAUSE, paused=True),
        group=GROUP,
        order=41,
    ),
)
