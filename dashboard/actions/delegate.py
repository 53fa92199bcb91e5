"""Delegate: let another person vote in one's place."""

from __future__ import annotations

from django import forms
from django.core.exceptions import ValidationError

from dashboard.access import Permission
from dashboard.actions.refusals import delegation_refusal
from dashboard.extend import Action, Group, Offer, Target, register
from dashboard.forms import LONGEST_ID, ActionForm, printable
from workers.contracts import ApprovalState, ApprovalStatus, Query, Signal


class DelegateForm(ActionForm):
    """Who votes instead."""

    reason_required = True
    to = forms.CharField(
        label="Who votes instead",
        max_length=LONGEST_ID,
        validators=[printable],
        widget=forms.TextInput({"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}),
        help_text="Their name as they sign in.",
        error_messages=dict.fromkeys(
            ("required", "max_length"), "Name the person who votes instead, as they sign in."
        ),
    )

    def clean_to(self) -> str:
        to: str = self.cleaned_data["to"]
        if to.casefold() == self.target.viewer.name.casefold():
            raise ValidationError("That is yourself; vote instead.")
        return to

    def detail(self) -> str:
        return f"to {self.cleaned_data['to']}"


def offered(target: Target) -> Offer | None:
    """While the approval is pending, and its policy lets votes be delegated."""
    status = target.answer(Query.APPROVAL, ApprovalStatus)
    if status is None or status.state != ApprovalState.PENDING or not status.policy.delegation:
        return None
    return Offer(delegation_refusal(target.viewer, status)) if target.declares(Signal.DELEGATE) else None


register(
    Action(
        name="delegate",
        signal=Signal.DELEGATE,
        label="Delegate",
        done="Vote delegated:",
        permission=Permission("delegate a vote", frozenset({"approver"})),
        offered=offered,
        form=DelegateForm,
        group=Group(
            "Delegate my vote",
            "The person you name votes in your place, with your roles. Both names are recorded.",
        ),
        order=30,
    )
)
