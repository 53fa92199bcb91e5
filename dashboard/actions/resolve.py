"""Resolve: settle an event of an entity whose effect failed permanently."""

from __future__ import annotations

from django import forms

from dashboard.access import Permission
from dashboard.actions.resolve_compensation import ResolveForm, choice_field
from dashboard.extend import Action, Group, Offer, Target, register
from dashboard.forms import LONGEST_ID, TOO_LONG
from workers.client.attributes import WAITING_FOR
from workers.contracts import Signal, WaitingFor


class ResolveEffectForm(ResolveForm):
    """Which event of an entity, and what to do about its effect."""

    field_order = ("step", "choice", "evidence")
    step = forms.CharField(
        label="Event whose effect failed",
        required=False,
        max_length=LONGEST_ID,
        help_text="Its id. Empty: the oldest one that waits for an operator.",
        error_messages=TOO_LONG,
    )
    choice = choice_field("Leave it without its effect")


def offered(target: Target) -> Offer | None:
    """While the run waits for an operator, where the workflow declares the signal."""
    waits = target.attribute_has(WAITING_FOR.name, WaitingFor.OPERATOR)
    return Offer() if waits and target.declares(Signal.RESOLVE_EFFECT) else None


register(
    Action(
        name="resolve",
        signal=Signal.RESOLVE_EFFECT,
        label="Resolve",
        done="Resolved",
        permission=Permission("resolve a failed effect", frozenset({"operator"})),
        offered=offered,
        form=ResolveEffectForm,
        group=Group(
            "Resolve a failed effect",
            "Its event stays recorded. Later events wait until its effect is done or settled.",
            unfolded=True,
        ),
        tone="stop",
        order=15,
    )
)
