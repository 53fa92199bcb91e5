"""The kinds of decisions: who may make them, what they are called, and the buttons for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from dashboard.access import Subject, Verb, Viewer, may
from workers.contracts import Signal


@dataclass(frozen=True, slots=True)
class Kind:
    """What there is to know about one kind of act."""

    verb: Verb
    done: str
    needs_reason: bool


KINDS: dict[Signal, Kind] = {
    Signal.APPROVE: Kind(Verb.APPROVE, "Approved", False),
    Signal.REJECT: Kind(Verb.REJECT, "Rejected", True),
    Signal.CANCEL: Kind(Verb.CANCEL, "Cancelled", True),
    Signal.RESOLVE: Kind(Verb.RESOLVE, "Resolved", True),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A button of the decision form; `why` says why it is disabled."""

    act: str
    label: str
    why: str = ""

    @property
    def destructive(self) -> bool:
        return KINDS[ACTS[self.act]].needs_reason


ACTS: dict[str, Signal] = {
    "approve": Signal.APPROVE,
    "reject": Signal.REJECT,
    "cancel": Signal.CANCEL,
    "resolve": Signal.RESOLVE,
}
LABELS = {"approve": "Approve", "reject": "Reject", "cancel": "Cancel", "resolve": "Resolve"}


def choices(
    viewer: Viewer, subject: Subject, acts: Iterable[str], signals: Collection[str] | None = None
) -> list[Choice]:
    """The buttons for some acts on a run, disabled with the reason where the viewer may not press them.

    `signals` are those that the workflow declares (None: not known); without `cancel` among them the button
    says that it can only ask Temporal.
    """
    labels = dict(LABELS)
    if signals is not None and Signal.CANCEL not in signals:
        labels["cancel"] = "Request cancellation"
    return [Choice(act, labels[act], may(viewer, KINDS[ACTS[act]].verb, subject)) for act in acts]
