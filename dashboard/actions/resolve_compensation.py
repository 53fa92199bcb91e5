"""Resolve: settle a step of a saga whose compensation failed permanently."""

from __future__ import annotations

from typing import Any

from django import forms

from dashboard.access import Permission
from dashboard.extend import Action, Offer, Target, register
from dashboard.forms import LONGEST_ID, LONGEST_REASON, TOO_LONG, ActionForm
from workers.client.attributes import SAGA_STATE
from workers.contracts import Query, SagaState, SagaStatus, Signal, StepState

CHOICES = {
    "retry": "Try it again",
    "skip": "Leave it uncompensated",
    "settled_outside": "It was settled outside",
}


def stuck_steps(status: SagaStatus | None) -> list[str]:
    """Names of the steps that wait for an operator, or whose compensation does."""
    return [
        step.name
        for step in (status.steps if status else [])
        if step.status == StepState.STUCK
        or (step.compensation and step.compensation.status == StepState.STUCK)
    ]


class ResolveForm(ActionForm):
    """Which step, what to do about it, and the evidence for it."""

    reason_required = True
    step = forms.CharField(
        label="Step whose compensation is stuck",
        max_length=LONGEST_ID,
        error_messages={"required": "Name the step whose compensation is stuck.", **TOO_LONG},
    )
    choice = forms.ChoiceField(
        label="What to do about it",
        choices=[*CHOICES.items()],
        error_messages=dict.fromkeys(
            ("required", "invalid_choice"), "Choose retry, skip or settled outside."
        ),
    )
    evidence = forms.CharField(
        required=False,
        max_length=LONGEST_REASON,
        help_text="For example the number of a bank transfer. Required when it was settled outside.",
        error_messages=TOO_LONG,
    )

    def __init__(self, target: Target, *args: Any, **kwargs: Any) -> None:
        super().__init__(target, *args, **kwargs)
        if steps := stuck_steps(target.answer(Query.SAGA, SagaStatus)):
            self.fields["step"].widget = forms.Select({"class": "field"}, [(name, name) for name in steps])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("choice") == "settled_outside" and not cleaned.get("evidence"):
            self.add_error("evidence", "Say how it was settled, for example the number of the bank transfer.")
        return cleaned

    def detail(self) -> str:
        evidence = self.cleaned_data["evidence"]
        choice = self.cleaned_data["choice"].replace("_", " ")
        return f"{self.cleaned_data['step']}: {choice}{f'; evidence: {evidence}' if evidence else ''}"


def offered(target: Target) -> Offer | None:
    """While the saga is stuck; without its answer, while the run's SagaState says so."""
    status = target.answer(Query.SAGA, SagaStatus)
    stuck = status.state == SagaState.STUCK if status else None
    if stuck is None:
        stuck = target.attribute_has(SAGA_STATE.name, SagaState.STUCK)
    return Offer() if stuck else None


register(
    Action(
        name="resolve_compensation",
        signal=Signal.RESOLVE,
        label="Resolve",
        done="Resolved",
        permission=Permission("resolve a stuck compensation", frozenset({"operator"})),
        offered=offered,
        form=ResolveForm,
        tone="stop",
        order=12,
    )
)
