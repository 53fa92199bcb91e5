"""Which acts a run offers beside approve, reject, resolve and cancel, by the signals that it declares and by
what it says about itself. Each group is a form of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from dashboard.access import Subject, Verb, Viewer, may
from dashboard.actions import objections
from dashboard.actions.forms import Form
from dashboard.actions.kinds import ACTS, BREAKER_ACTS, choices
from dashboard.panels.drawn import Drawn
from dashboard.temporal_api.run import RunPage
from workers.contracts import ApprovalState, ApprovalStatus, Progress, Query

BREAKER_ABOUT = (
    "Forcing ends by itself, and until then no call changes the state. Release gives the breaker back to its "
    "own rule; a closed one lets go again what it holds. A probe sends one workflow through that it holds; a "
    "success closes it."
)
SHARED = "It is shared with other tenants; only somebody who may act for all of them operates it."


def breaker(
    viewer: Viewer, subject: Subject, signals: Collection[str], held: list[str], *, unfolded: bool = False
) -> Form | None:
    """The form of a breaker, with those of the four acts that it declares; None where it declares none."""
    acts = [act for act in BREAKER_ACTS if ACTS[act] in signals]
    if not acts:
        return None
    why = may(viewer, Verb.BREAKER) or (SHARED if may(viewer, Verb.BREAKER, subject) else "")
    buttons = [replace(button, why=why) for button in choices(viewer, subject, acts)]
    return Form(buttons, "Act on this breaker", BREAKER_ABOUT, held=held, open=unfolded)


def _approval(
    viewer: Viewer, run: RunPage, signals: Collection[str], status: ApprovalStatus
) -> Iterable[Form]:
    if status.state != ApprovalState.PENDING:
        return
    if status.policy.delegation and ACTS["delegate"] in signals:
        why = {"delegate": objections.to_delegate(viewer, status)}
        about = "Somebody else votes in your place, with your roles. It is told with the vote."
        yield Form(choices(viewer, run.subject, ["delegate"], objections=why), "Hand on your vote", about)
    if ACTS["withdraw"] in signals:
        why = {"withdraw": objections.to_withdraw(viewer, status)}
        about = "The question is taken back, without an answer. What follows, the workflow decides."
        yield Form(choices(viewer, run.subject, ["withdraw"], objections=why), "Withdraw the question", about)


def _pace(viewer: Viewer, run: RunPage, signals: Collection[str], status: Progress | None) -> Iterable[Form]:
    """Whichever changes something; both where it is not known whether it is paused."""
    wanted = ["pause", "unpause"] if status is None else ["unpause"] if status.paused else ["pause"]
    acts = [act for act in wanted if ACTS[act] in signals]
    if acts:
        about = "What is under way is finished; nothing new begins until somebody lets it go on."
        title = "Let it go on" if acts == ["unpause"] else "Pause"
        yield Form(choices(viewer, run.subject, acts), title, about)


def offered(viewer: Viewer, run: RunPage, said: Drawn, held: list[str]) -> list[Form]:
    """All forms beside the main one, for an open run whose declaration is known."""
    declared = run.answers.interface
    if not run.open or declared is None:
        return []
    signals, found = declared.signals, list[Form]()
    if Query.CIRCUIT in declared.queries:
        form = breaker(viewer, run.subject, signals, held, unfolded=True)
        found += [form] if form else []
    if said.approval:
        found += _approval(viewer, run, signals, said.approval)
    return [*found, *_pace(viewer, run, signals, said.progress)]
