"""Invariants for `explore`: each takes a View and returns what is wrong, or None.

Those in lower case are ready; `history_bounded(...)` and the like make one. They look at the contracts of the
console (`get_saga_status`, `get_decision`, `get_status`) and at the search attribute WaitingFor, so they
fit any workflow that answers these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workers.contracts import Outcome, SagaState, StepState, WaitingFor
from workers.testing.view import View
from workers.testing.world import Effect

Invariant = Callable[[View], str | None]
"""Returns what is wrong, or None. Called after each workflow task, and at the end with `view.final`."""

_SETTLED = {StepState.SETTLED.value, StepState.SKIPPED.value}


def _steps(view: View) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = (
        view.query("get_saga_status")["steps"] if view.answers("get_saga_status") else []
    )
    return steps


def _waits_for_operator(view: View) -> bool:
    return WaitingFor.OPERATOR.value in view.waiting_for


def _settled(step: dict[str, Any]) -> bool:
    undo = step.get("compensation") or {}
    return step["status"] in _SETTLED or undo.get("status") in _SETTLED


def no_forgotten_effect(view: View) -> str | None:
    """At the end, what stands outside is wanted (the saga completed, or the workflow knows that its point
    of no
    return was passed) or known to a person, who is waited for now or has settled it."""
    if not view.final or _waits_for_operator(view) or (view.task_failure and not view.ended):
        return None
    standing = view.world.ledger.standing()
    if not standing or _completed(view):
        return None
    steps = _steps(view)
    committed = max(
        (
            number
            for number, step in enumerate(steps)
            if step["point_of_no_return"] and step["status"] == StepState.DONE.value
        ),
        default=-1,
    )
    kept = [step for number, step in enumerate(steps) if number <= committed or _settled(step)]
    known = {step[name] for step in kept for name in ("idempotency_key", "child_workflow_id") if step[name]}
    forgotten = [effect for effect in standing if not _known(effect, known)]
    if not forgotten:
        return None
    names = ", ".join(f"{effect.what} [{effect.key}]" for effect in forgotten)
    return f"The run is {view.ended or 'open'}, and no status shows {names}."


def _known(effect: Effect, keys: set[str]) -> bool:
    return effect.key in keys or any(effect.key.startswith(f"{key}/") for key in keys)


def _completed(view: View) -> bool:
    if not view.answers("get_saga_status"):
        return view.ended == "completed"
    return bool(view.query("get_saga_status")["state"] == SagaState.COMPLETED.value)


def verdicts_hold(view: View) -> str | None:
    """A `cancel` with the verdict "applied" is followed by no forward step, and by no completed saga."""
    applied = view.memory.setdefault("verdicts_hold", {})
    for task, _, arguments in view.received("cancel"):
        decision_id = getattr(arguments[0], "decision_id", "") if arguments else ""
        if not decision_id or decision_id in applied or not view.answers("get_decision"):
            continue
        if view.query("get_decision", decision_id)["outcome"] == Outcome.APPLIED.value:
            applied[decision_id] = task
    if not applied:
        return None
    since = min(applied.values())
    later = [name for task, name, role in view.started if role == "step" and task >= since]
    if later:
        names = ", ".join(later)
        return f"The cancel has the verdict applied, and in the same task or later {names} was started."
    if view.ended == "completed" and view.answers("get_saga_status") and _completed(view):
        return "The cancel has the verdict applied, and all was completed."
    return None


def nothing_twice(view: View) -> str | None:
    """No effect stands twice under different keys, and nothing was undone under two."""
    seen: dict[str, str] = {}
    for effect in view.world.ledger.effects.values():
        if effect.undone > 1:
            return f"{effect.what} [{effect.key}] was undone {effect.undone} times, each under another key."
        if effect.state != "done":
            continue
        if effect.what in seen:
            return f"{effect.what} stands twice: {seen[effect.what]} and {effect.key}."
        seen[effect.what] = effect.key
    return None


def always_waits_for_something(idle: Callable[[View], bool] = lambda view: False) -> Invariant:
    """An open run waits for an activity, a timer, a child, a signal to another workflow or, as WaitingFor
    says, for a person. `idle`: when it may wait for messages alone, for example an account that is open."""

    def always_waits_for_something(view: View) -> str | None:
        if view.ended or view.task_failure or view.outstanding or view.waiting_for or idle(view):
            return None
        return "The run is open and waits for nothing."

    return always_waits_for_something


def waits_are_visible(view: View) -> str | None:
    """What get_status says that it waits for, and an operator when it is stuck, are in WaitingFor."""
    if view.ended or view.task_failure:
        return None
    if not view.answers("get_status"):
        return None
    attribute, status = view.waiting_for, view.query("get_status")
    reported = status.get("waiting_for")
    wanted = set(reported) if isinstance(reported, list) else {reported} if reported else set()
    if status.get("status") == SagaState.STUCK.value:
        wanted.add(WaitingFor.OPERATOR.value)
    if wanted - attribute:
        return f"It waits for {sorted(wanted)}, but WaitingFor is {sorted(attribute) or 'unset'}."
    return None


def history_bounded(events: int = 10_000, bytes: int = 10_000_000) -> Invariant:  # noqa: A002
    """The estimated history of each run stays below so many events and bytes."""

    def history_bounded(view: View) -> str | None:
        if view.events <= events and view.history_bytes <= bytes:
            return None
        return f"The history has about {view.events:,} events and {view.history_bytes:,} bytes."

    return history_bounded


SAGA: tuple[Invariant, ...] = (
    no_forgotten_effect,
    verdicts_hold,
    nothing_twice,
    waits_are_visible,
    always_waits_for_something(),
)
"""All that hold for a saga."""
