"""The kinds of decisions: who may make them, what they are called, and the buttons for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from dashboard.access import Subject, Verb, Viewer, may
from workers.contracts import Signal


@dataclass(frozen=True, slots=True)
class Kind:
    """What there is to know about one kind of act: its name in addresses, the word on its button, and what
    is said when it was done. `destructive` ones look like it."""

    act: str
    label: str
    done: str
    verb: Verb
    needs_reason: bool = False
    destructive: bool = False


KINDS: dict[Signal, Kind] = {
    Signal.APPROVE: Kind("approve", "Approve", "Approved", Verb.APPROVE),
    Signal.REJECT: Kind("reject", "Reject", "Rejected", Verb.REJECT, True, True),
    Signal.CANCEL: Kind("cancel", "Cancel", "Cancelled", Verb.CANCEL, True, True),
    Signal.RESOLVE: Kind("resolve", "Resolve", "Resolved", Verb.RESOLVE, True, True),
    Signal.WITHDRAW: Kind("withdraw", "Withdraw", "Withdrawn:", Verb.WITHDRAW, True, True),
    Signal.DELEGATE: Kind("delegate", "Hand on", "Vote handed on:", Verb.DELEGATE, True),
    Signal.PAUSE: Kind("pause", "Pause", "Paused", Verb.PAUSE, True),
    Signal.UNPAUSE: Kind("unpause", "Go on", "Goes on:", Verb.PAUSE),
    Signal.FORCE_OPEN: Kind("force_open", "Force open", "Forced open:", Verb.BREAKER, True, True),
    Signal.FORCE_CLOSE: Kind("force_close", "Force closed", "Forced closed:", Verb.BREAKER, True, True),
    Signal.RELEASE: Kind("release", "Release", "Released", Verb.BREAKER, True),
    Signal.PROBE: Kind("probe", "Probe now", "Probe asked of", Verb.BREAKER, True),
}
ACTS: dict[str, Signal] = {kind.act: signal for signal, kind in KINDS.items()}
LABELS: dict[str, str] = {kind.act: kind.label for kind in KINDS.values()}
BREAKER_ACTS = ("force_open", "force_close", "release", "probe")


@dataclass(frozen=True, slots=True)
class Choice:
    """A button of the decision form; `why` says why it is disabled."""

    act: str
    label: str
    why: str = ""

    @property
    def destructive(self) -> bool:
        return KINDS[ACTS[self.act]].destructive


def choices(
    viewer: Viewer,
    subject: Subject,
    acts: Iterable[str],
    signals: Collection[str] | None = None,
    objections: Mapping[str, str] | None = None,
) -> list[Choice]:
    """The buttons for some acts on a run, disabled with the reason where the viewer may not press them, or
    where the workflow would refuse (`objections`, by act).

    `signals` are those that the workflow declares (None: not known); without `cancel` among them the button
    says that it can only ask Temporal.
    """
    labels, objections = dict(LABELS), objections or {}
    if signals is not None and Signal.CANCEL not in signals:
        labels["cancel"] = "Request cancellation"
    return [
        Choice(act, labels[act], may(viewer, KINDS[ACTS[act]].verb, subject) or objections.get(act, ""))
        for act in acts
    ]
