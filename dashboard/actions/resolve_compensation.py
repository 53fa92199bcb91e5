"""Resolve: settle a step of a saga whose compensation failed permanently."""

from __future__ import annotations

from typing import Any

from django import forms

from dashboard.access import Permission
from dashboard.extend import Action, Offer, Target, register
from dashboard.forms import LONGEST_ID, LONGEST_REASON, TOO_LONG, ActionForm
from workers.client.attributes import SAGA_STATE
from workers.contracts import Query, SagaState, SagaStatus, Signal, StepState


def stuck_steps(status: SagaStatus | None) -> list[str]:
    """Names of the steps that wait for an operator, or whose compensation does."""
    return [
        step.name
        for step in (status.steps if status else [])
        if step.status == StepState.STUCK
        or (step.compensation and step.compensation.status == StepState.STUCK)
    ]


def choice_field(skip: str) -> forms.ChoiceField:
    """What an operator may do about a step that failed permanently; `skip` says what leaving it means."""
    choices = {"retry": "Try it again", "skip": skip, "settled_outside": "It was settled outside"}
    refusals = dict.fromkeys(("required", "invalid_choice"), "Choose retry, skip or settled outside.")
    return forms.ChoiceField(label="What to do about it", choices=[*choices.items()], error_messages=refusals)


class ResolveForm(ActionForm):
    """The evidence for a choice. Subclasses add the fields `step`, what failed, and `choice`."""

    reason_required = True
    evidence = forms.CharField(
        required=False,
        max_length=LONGEST_REASON,
        help_text="For example the number of a bank transfer. Required unless it is tried again.",
        error_messages=TOO_LONG,
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("choice", "retry") != "retry" and not cleaned.get("evidence"):
            self.add_error(
                "evidence", "Say what shows that it is right, for example the number of a transfer."
            )
        return cleaned

    def detail(self) -> str:
        step, evidence = (self.cleaned_data[name] for name in ("step", "evidence"))
        choice = self.cleaned_data["choice"].replace("_", " ")
        return f"{step or 'the oldest'}: {choice}{f'; evidence: {evidence}' if evidence else ''}"


class ResolveCompensationForm(ResolveForm):
    """Which step of a saga, and what to do about its compensation."""

    field_order = ("step", "choice", "evidence")
    step = forms.CharField(
        label="Step whose compensation is stuck",
        max_length=LONGEST_ID,
        error_messages={"required": "Name the step whose compensation is stuck.", **TOO_LONG},
    )
    choice = choice_field("Leave it uncompensated")

    def __init__(self, target: Target, *args: Any, **kwargs: Any) -> None:
        super().__init__(target, *args, **kwargs)
        if steps := stuck_steps(target.answer(Query.SAGA, SagaStatus)):
            self.fields["step"].widget = forms.Select({"class": "field"}, [(name, name) for name in steps])


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
        form=ResolveCompensationForm,
        tone="stop",
        order=12,
    )
)
