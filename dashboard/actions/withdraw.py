"""Withdraw: end an approval without an answer."""

from __future__ import annotations

from dashboard.access import Permission
from dashboard.actions.refusals import withdrawal_refusal
from dashboard.extend import Action, Group, Offer, Target, register
from dashboard.forms import ReasonRequired
from workers.contracts import ApprovalState, ApprovalStatus, Query, Signal


def offered(target: Target) -> Offer | None:
    """While the approval is pending, where the workflow takes it."""
    status = target.answer(Query.APPROVAL, ApprovalStatus)
    if status is None or status.state != ApprovalState.PENDING or not target.declares(Signal.WITHDRAW):
        return None
    return Offer(withdrawal_refusal(target.viewer, status))


register(
    Action(
        name="withdraw",
        signal=Signal.WITHDRAW,
        label="Withdraw",
        done="Withdrawn:",
        # A requester may be in any role; the workflow knows who that was, and refuses the others.
        permission=Permission("withdraw your own request", frozenset({"viewer", "operator", "approver"})),
        offered=offered,
        form=ReasonRequired,
        group=Group(
            "Withdraw the request",
            "The approval ends without an answer. What follows, the workflow decides.",
        ),
        tone="stop",
        order=31,
    )
)
