"""Approve and reject: votes on an approval that is pending."""

from __future__ import annotations

from dashboard.access import Permission
from dashboard.actions.refusals import vote_refusal
from dashboard.extend import Action, Offer, Place, Target, register
from dashboard.forms import ReasonRequired
from workers.client.attributes import WAITING_FOR
from workers.contracts import ApprovalState, ApprovalStatus, Query, Signal, WaitingFor

PLACES: frozenset[Place] = frozenset({"run", "approvals", "bulk"})
ROLES = frozenset({"approver"})


def offered(target: Target) -> Offer | None:
    """While the approval is pending; without its answer, while the run says that it waits for one."""
    status = target.answer(Query.APPROVAL, ApprovalStatus)
    if status is None:
        waits = target.attribute_has(WAITING_FOR.name, WaitingFor.APPROVAL)
        return Offer() if waits else None
    return Offer(vote_refusal(target.viewer, status)) if status.state == ApprovalState.PENDING else None


register(
    Action(
        name="approve",
        signal=Signal.APPROVE,
        label="Approve",
        done="Approved",
        permission=Permission("approve", ROLES),
        offered=offered,
        places=PLACES,
        key="a",
        order=10,
    ),
    Action(
        name="reject",
        signal=Signal.REJECT,
        label="Reject",
        done="Rejected",
        permission=Permission("reject", ROLES),
        offered=offered,
        form=ReasonRequired,
        places=PLACES,
        tone="stop",
        key="r",
        order=11,
    ),
)
