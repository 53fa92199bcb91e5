"""What a person fills into the form of an act, and the Decision that becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Required, TypedDict

from dashboard.access import Viewer
from dashboard.actions.kinds import KINDS
from dashboard.errors import Invalid
from workers.contracts import Decision, Signal

MAX_REASON = 2000  # characters
MAX_ID = 100
MAX_WORKFLOW_ID = 1000
CHOICES = ("retry", "skip", "settled_outside")
# How long a forced state may last, in minutes: it always ends by itself.
LASTS = {"15": "15 minutes", "60": "1 hour", "240": "4 hours", "1440": "24 hours"}


class Fields(TypedDict, total=False):
    """The fields of all forms; each kind of act reads its own. `decision_id` is made with the form. `lasts`:
    minutes that a forced state holds. `probe`: id of the held workflow that shall probe (empty: any)."""

    decision_id: Required[str]
    reason: str
    step: str
    choice: str
    evidence: str
    to: str
    lasts: str
    probe: str


FIELDS = tuple(Fields.__annotations__)


def _resolve(decision: Decision, fields: Fields) -> dict[str, str]:
    errors = {}
    if decision.choice not in CHOICES:
        errors["choice"] = "Choose retry, skip or settled outside."
    if not decision.step or len(decision.step) > MAX_ID:
        errors["step"] = "Name the step whose compensation is stuck."
    if decision.choice == "settled_outside" and not decision.evidence:
        errors["evidence"] = "Say how it was settled, for example the number of the bank transfer."
    return errors


def _force(decision: Decision, fields: Fields) -> dict[str, str]:
    if fields.get("lasts", "") in LASTS:
        return {}
    return {"lasts": f"Choose how long: {', '.join(LASTS.values())}."}


def _delegate(decision: Decision, fields: Fields) -> dict[str, str]:
    if not decision.to or len(decision.to) > MAX_ID or not decision.to.isprintable():
        return {"to": "Name the person who shall vote, as they sign in."}
    if decision.to.casefold() == decision.actor.casefold():
        return {"to": "That is yourself; vote instead."}
    return {}


def _probe(decision: Decision, fields: Fields) -> dict[str, str]:
    if len(decision.workflow_id) > MAX_WORKFLOW_ID or not decision.workflow_id.isprintable():
        return {"probe": "This cannot be the id of a workflow."}
    return {}


OWN: dict[Signal, Callable[[Decision, Fields], dict[str, str]]] = {
    Signal.RESOLVE: _resolve,
    Signal.FORCE_OPEN: _force,
    Signal.FORCE_CLOSE: _force,
    Signal.DELEGATE: _delegate,
    Signal.PROBE: _probe,
}


def _too_long(name: str, text: str) -> dict[str, str]:
    length = len(text)
    return {name: f"At most {MAX_REASON:,} characters; these are {length:,}."} if length > MAX_REASON else {}


def reason_problems(signal: Signal, reason: str) -> dict[str, str]:
    """What is wrong with the reason of an act, by field."""
    if KINDS[signal].needs_reason and not reason.strip():
        return {"reason": "A reason is needed; it is kept in the audit log."}
    return _too_long("reason", reason)


def _problems(signal: Signal, decision: Decision, fields: Fields) -> dict[str, str]:
    errors = reason_problems(signal, decision.reason) | _too_long("evidence", decision.evidence)
    known = decision.decision_id
    if not known or len(known) > MAX_ID or not known.isprintable():
        errors["decision_id"] = "This form is not complete. Open the page again."
    return errors | (OWN[signal](decision, fields) if signal in OWN else {})


def decision_of(viewer: Viewer, signal: Signal, fields: Fields) -> Decision:
    """The decision of `viewer`, whose identity comes from the login alone. Raises Invalid for what has to be
    corrected, by field."""
    now, lasts = datetime.now(UTC), fields.get("lasts", "")
    forcing = signal in (Signal.FORCE_OPEN, Signal.FORCE_CLOSE) and lasts in LASTS
    decision = Decision(
        decision_id=fields["decision_id"].strip(),
        actor=viewer.name,
        roles=sorted(viewer.roles),
        reason=fields.get("reason", "").strip(),
        at=now,
        step=fields.get("step", "").strip(),
        choice=fields.get("choice", ""),
        evidence=fields.get("evidence", "").strip(),
        to=fields.get("to", "").strip(),
        until=now + timedelta(minutes=int(lasts)) if forcing else None,
        workflow_id=fields.get("probe", "").strip() if signal is Signal.PROBE else "",
    )
    if errors := _problems(signal, decision, fields):
        raise Invalid(errors)
    return decision


def particulars(signal: Signal, decision: Decision) -> str:
    """What a decision says besides its reason, for the audit log."""
    match signal:
        case Signal.RESOLVE:
            evidence = f"; evidence: {decision.evidence}" if decision.evidence else ""
            return f"{decision.step}: {decision.choice.replace('_', ' ')}{evidence}"
        case Signal.DELEGATE:
            return f"to {decision.to}"
        case Signal.PROBE:
            return f"by {decision.workflow_id}" if decision.workflow_id else "by any that is held"
        case _:
            return f"until {decision.until:%Y-%m-%d %H:%M:%S} UTC" if decision.until else ""
