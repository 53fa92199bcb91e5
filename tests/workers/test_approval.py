"""Approval: votes, quorum, roles and deadlines, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from workers.contracts import ApprovalPolicy, ApprovalState, Decision, Outcome
from workers.patterns.approval import Approval

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def a_vote(actor: str = "ann", *, at: datetime = NOW, roles: tuple[str, ...] = ()) -> Decision:
    return Decision(decision_id=actor, actor=actor, at=at, roles=list(roles))


def test_one_vote_decides_where_one_is_asked() -> None:
    approval = Approval(ApprovalPolicy())
    assert approval.vote(a_vote(), approve=True)[0] is Outcome.APPLIED
    assert approval.state is ApprovalState.APPROVED
    assert approval.status().missing == 0


def test_a_quorum_counts_people_not_votes() -> None:
    approval = Approval(ApprovalPolicy(quorum=2))
    assert "1 more" in approval.vote(a_vote("ann"), approve=True)[1]
    assert approval.vote(a_vote(" ANN "), approve=True)[0] is Outcome.ALREADY_DECIDED
    assert not approval.decided
    approval.vote(a_vote("bob"), approve=True)
    assert approval.state is ApprovalState.APPROVED


def test_one_reject_ends_it() -> None:
    approval = Approval(ApprovalPolicy(quorum=3))
    approval.vote(a_vote("ann"), approve=True)
    approval.vote(a_vote("bob"), approve=False)
    assert approval.state is ApprovalState.REJECTED
    outcome, detail, by = approval.vote(a_vote("cid"), approve=True)
    assert (outcome, by) == (Outcome.ALREADY_DECIDED, "bob")
    assert detail == "Already rejected by bob at 2026-01-02 03:04:05 UTC."


@pytest.mark.parametrize(
    ("policy", "voter", "word"),
    [
        (ApprovalPolicy(roles=["approver"]), a_vote("ann", roles=("viewer",)), "role approver"),
        (ApprovalPolicy(self_approval=False), a_vote("Riley "), "Who asked"),
        (ApprovalPolicy(quorum=2), a_vote(""), "who made it"),
        (ApprovalPolicy(roles=["approver"]), a_vote("", roles=("approver",)), "who made it"),
        (ApprovalPolicy(self_approval=False), a_vote(""), "who made it"),
    ],
)
def test_who_may_not_vote(policy: ApprovalPolicy, voter: Decision, word: str) -> None:
    approval = Approval(policy, requester="riley")
    outcome, detail, _ = approval.vote(voter, approve=True)
    assert outcome is Outcome.REFUSED
    assert word in detail
    assert approval.status().votes == []


def test_the_deadline_is_judged_by_the_decisions_own_time() -> None:
    approval = Approval(ApprovalPolicy(quorum=2))
    approval.open_until(NOW)
    assert (
        approval.vote(a_vote("late", at=NOW + timedelta(microseconds=1)), approve=True)[0] is Outcome.REFUSED
    )
    assert approval.vote(a_vote("timely"), approve=True)[0] is Outcome.APPLIED


@pytest.mark.parametrize(
    ("on_timeout", "state"), [("reject", ApprovalState.EXPIRED), ("approve", ApprovalState.APPROVED)]
)
def test_what_the_timeout_means(on_timeout: str, state: ApprovalState) -> None:
    approval = Approval(ApprovalPolicy(), on_timeout=on_timeout)
    approval.expire()
    assert approval.state is state
    assert approval.vote(a_vote(), approve=False)[:2] == (Outcome.ALREADY_DECIDED, f"Already {state}.")


def test_decided_stays_decided() -> None:
    approval = Approval(ApprovalPolicy())
    approval.vote(a_vote(), approve=True)
    approval.expire()
    approval.withdraw()
    assert approval.state is ApprovalState.APPROVED


def test_without_a_policy_nothing_is_asked() -> None:
    approval = Approval(None)
    assert approval.decided
    assert approval.vote(a_vote(), approve=True)[0] is Outcome.REFUSED
    assert approval.status().state == ApprovalState.NOT_NEEDED
