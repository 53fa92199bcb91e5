"""Operate a circuit breaker: force it open or closed for a while, release it, let one workflow probe."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms

from dashboard.access import Permission, may
from dashboard.extend import Action, Group, Offer, Place, Target, register
from dashboard.forms import ActionForm, ReasonRequired, printable
from workers.contracts import Query, Signal

LONGEST_WORKFLOW_ID = 1000  # characters
# A forced state ends by itself after one of these, in minutes.
DURATIONS = {"15": "15 minutes", "60": "1 hour", "240": "4 hours", "1440": "24 hours"}
SHARED = "It is shared with other tenants; operating it takes a login that is not bound to one tenant."
PERMISSION = Permission("operate breakers", frozenset({"operator"}))
GROUP = Group(
    "Operate this breaker",
    "Force: overrides the breaker until the time you choose. Release: ends the override. Probe: lets one "
    "held workflow try; a success closes the breaker.",
    unfolded=True,
)
PLACES: frozenset[Place] = frozenset({"run", "breakers"})


class ForceForm(ActionForm):
    """For how long the state is forced."""

    reason_required = True
    duration = forms.ChoiceField(
        label="Force it for",
        choices=[*DURATIONS.items()],
        help_text="Then it is released by itself.",
        error_messages=dict.fromkeys(
            ("required", "invalid_choice"), f"Choose how long: {', '.join(DURATIONS.values())}."
        ),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "duration" in cleaned:
            cleaned["until"] = datetime.now(UTC) + timedelta(minutes=int(cleaned.pop("duration")))
        return cleaned

    def detail(self) -> str:
        return f"until {self.cleaned_data['until']:%Y-%m-%d %H:%M:%S} UTC"


class ProbeForm(ActionForm):
    """Which held workflow probes; empty: any."""

    reason_required = True
    workflow_id = forms.CharField(
        label="Probe with",
        required=False,
        max_length=LONGEST_WORKFLOW_ID,
        validators=[printable],
        error_messages={"max_length": "This cannot be the id of a workflow."},
    )

    def __init__(self, target: Target, *args: Any, **kwargs: Any) -> None:
        super().__init__(target, *args, **kwargs)
        typed = self.data.get("workflow_id", "")
        if typed in ("", *target.held):
            choices = [("", "Any that is held"), *((name, name) for name in target.held)]
            self.fields["workflow_id"].widget = forms.Select({"class": "field"}, choices)

    def detail(self) -> str:
        return f"by {self.cleaned_data['workflow_id'] or 'any that is held'}"


def _action(signal: Signal, label: str, done: str, form: type[ActionForm], **more: Any) -> Action:
    def offered(target: Target) -> Offer | None:
        """On a breaker that takes it. One that tenants share is seen by all of them, and operated by none."""
        if Query.CIRCUIT not in target.queries or not target.declares(signal):
            return None
        return Offer(SHARED if may(target.viewer, PERMISSION, target.subject) else "")

    return Action(
        name=signal.value,
        signal=signal,
        label=label,
        done=done,
        permission=PERMISSION,
        offered=offered,
        form=form,
        group=GROUP,
        places=PLACES,
        **more,
    )


register(
    _action(Signal.FORCE_OPEN, "Force open", "Forced open:", ForceForm, tone="stop", order=20),
    _action(Signal.FORCE_CLOSE, "Force closed", "Forced closed:", ForceForm, tone="stop", order=21),
    _action(Signal.RELEASE, "Release", "Released", ReasonRequired, order=22),
    _action(Signal.PROBE, "Probe now", "Probe requested of", ProbeForm, order=23),
)
