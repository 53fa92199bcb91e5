"""Approval: votes, quorum, roles and deadlines, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from workers.contracts import (
    ApprovalBand,
    ApprovalPolicy,
    ApprovalState,
    ApprovalStatus,
    Decision,
    Escalation,
    Money,
    Outcome,
)
from workers.patterns.approval.approval import Approval
from workers.patterns.approval.rules import policy_for

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
        (ApprovalPolicy(self_approval=False), a_vote("Riley "), "The requester"),
        (ApprovalPolicy(quorum=2), a_vote(""), "names no actor"),
        (ApprovalPolicy(roles=["approver"]), a_vote("", roles=("approver",)), "names no actor"),
        (ApprovalPolicy(self_approval=False), a_vote(""), "names no actor"),
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


# Who is who: ann, bob and cid are approvers, hugo is a head, dan has no role, riley asked.
ROLES = {
    "ann": ("approver",),
    "bob": ("approver",),
    "cid": ("approver",),
    "hugo": ("head",),
    "riley": ("approver",),
}
PEOPLE = (*ROLES, "dan")
FULL = ApprovalPolicy(quorum=2, roles=["approver"], self_approval=False, delegation=True)
ESCALATED, DEADLINE = NOW + timedelta(hours=1), NOW + timedelta(hours=2)


def asked(policy: ApprovalPolicy = FULL, *, escalated: bool = True) -> Approval:
    approval = Approval(policy, requester="riley")
    approval.open_until(DEADLINE, [Escalation(at=ESCALATED, roles=["head"])] if escalated else [])
    return approval


def says(actor: str, *, at: datetime = NOW, to: str = "", reason: str = "") -> Decision:
    roles = list(ROLES.get(actor, ()))
    return Decision(decision_id=actor, actor=actor, at=at, roles=roles, to=to, reason=reason)


def test_an_escalation_lets_a_role_decide_from_its_time_on() -> None:
    approval = asked()
    early = approval.vote(says("hugo", at=ESCALATED - timedelta(seconds=1)), approve=True)
    assert (early[0], early[1]) == (Outcome.REFUSED, "This needs the role approver.")
    assert approval.vote(says("hugo", at=ESCALATED), approve=True)[0] is Outcome.APPLIED
    assert approval.next_at == ESCALATED
    assert [step.roles for step in approval.escalate(ESCALATED)] == [["head"]]
    assert approval.escalate(ESCALATED) == []
    assert approval.next_at == DEADLINE


def test_an_escalation_after_the_deadline_is_left_out() -> None:
    approval = Approval(FULL)
    approval.open_until(DEADLINE, [Escalation(at=DEADLINE, roles=["head"])])
    assert approval.status().escalations == []


def test_a_delegate_votes_once_and_whoever_delegated_no_more() -> None:
    approval = asked()
    assert approval.delegate(says("ann", to="dan"))[0] is Outcome.APPLIED
    assert approval.vote(says("dan"), approve=True)[0] is Outcome.APPLIED
    assert approval.vote(says("ann"), approve=True)[1] == "ann let dan vote instead."
    assert approval.vote(says("dan"), approve=True)[0] is Outcome.ALREADY_DECIDED
    assert [(vote.actor, vote.on_behalf_of) for vote in approval.status().votes] == [("dan", "ann")]


def test_a_delegate_who_voted_before_they_were_named_is_refused() -> None:
    approval = asked()
    approval.delegate(says("ann", to="dan", at=NOW + timedelta(minutes=1)))
    assert approval.vote(says("dan", at=NOW), approve=True)[0] is Outcome.REFUSED


@pytest.mark.parametrize("order", [("ann", "dan"), ("dan", "ann")])
def test_a_vote_from_before_the_delegation_is_worth_as_much_as_the_delegates(order: tuple[str, str]) -> None:
    approval = asked()
    later = NOW + timedelta(minutes=1)
    approval.delegate(says("ann", to="dan", at=later))
    outcomes = [
        approval.vote(says(actor, at=NOW if actor == "ann" else later), approve=True) for actor in order
    ]
    assert [outcome for outcome, _, _ in outcomes] == [Outcome.APPLIED, Outcome.REFUSED]
    assert approval.status().missing == 1


@pytest.mark.parametrize(
    ("who", "to", "word"),
    [
        ("ann", "", "Name a delegate"),
        ("ann", "Ann ", "Name a delegate"),
        ("ann", "riley", "The requester"),
        ("riley", "bob", "The requester"),
        ("dan", "eve", "role approver"),
        ("bob", "dan", "a delegate already"),
        ("bob", "cid", "has delegated"),
        ("cid", "dan", "let dan vote"),
        ("", "dan", "names no actor"),
    ],
)
def test_what_cannot_be_delegated(who: str, to: str, word: str) -> None:
    approval = asked()
    approval.delegate(says("cid", to="dan"))
    outcome, detail, _ = approval.delegate(says(who, to=to))
    assert (outcome, word in detail) == (Outcome.REFUSED, True), detail
    assert len(approval.status().delegations) == 1


def test_a_vote_that_was_handed_on_is_not_handed_on_again() -> None:
    approval = asked()
    approval.delegate(says("ann", to="bob"))
    assert "cannot be delegated again" in approval.delegate(says("bob", to="cid"))[1]


def test_nobody_delegates_to_somebody_who_has_voted() -> None:
    approval = asked()
    approval.vote(says("bob"), approve=True)
    assert "voted already" in approval.delegate(says("ann", to="bob"))[1]
    assert approval.delegate(says("bob", to="dan"))[0] is Outcome.ALREADY_DECIDED


@pytest.mark.parametrize(
    ("policy", "word"),
    [
        (ApprovalPolicy(roles=["approver"]), "does not allow delegation"),
        (ApprovalPolicy(delegation=True), "Anybody may vote"),
    ],
)
def test_where_nothing_can_be_delegated(policy: ApprovalPolicy, word: str) -> None:
    assert word in asked(policy).delegate(says("ann", to="dan"))[1]


@pytest.mark.parametrize(
    ("decision", "outcome"),
    [
        (says("riley", reason="Ordered twice."), Outcome.APPLIED),
        (says("ann", reason="Ordered twice."), Outcome.APPLIED),
        (says("ann", reason=" "), Outcome.REFUSED),
        (says("dan", reason="I dislike it."), Outcome.REFUSED),
        (says("", reason="Because."), Outcome.REFUSED),
        (says("riley", reason="Late.", at=DEADLINE + timedelta(seconds=1)), Outcome.REFUSED),
    ],
)
def test_who_may_withdraw(decision: Decision, outcome: Outcome) -> None:
    approval = asked()
    assert approval.withdraw_by(decision)[0] is outcome
    assert (approval.state is ApprovalState.WITHDRAWN) == (outcome is Outcome.APPLIED)
    if approval.decided:
        assert approval.withdraw_by(decision)[0] is Outcome.ALREADY_DECIDED
        assert approval.status().decided_by == [decision.actor]


def test_a_quorum_of_less_than_one_is_one() -> None:
    approval = Approval(ApprovalPolicy(quorum=0))
    assert approval.status().missing == 1


def test_goes_on_from_its_status() -> None:
    approval = asked()
    approval.vote(says("ann"), approve=True)
    again = Approval.of(ApprovalStatus.model_validate_json(approval.status().model_dump_json()))
    assert again.vote(says("ann"), approve=True)[0] is Outcome.ALREADY_DECIDED
    again.vote(says("bob", at=NOW + timedelta(minutes=1)), approve=True)
    assert (again.state, again.status().decided_by) == (ApprovalState.APPROVED, ["ann", "bob"])
    assert again.status().decided_at == NOW + timedelta(minutes=1)
    assert not approval.decided


SMALL, LARGE = ApprovalPolicy(roles=["approver"]), ApprovalPolicy(quorum=2, roles=["approver"])
BANDS = [
    ApprovalBand(minor=1_000_000, currency="EUR", policy=LARGE),
    ApprovalBand(minor=10_000, currency="EUR", policy=SMALL),
    ApprovalBand(minor=0, currency="JPY", policy=SMALL),
]


@pytest.mark.parametrize(
    ("minor", "currency", "policy"),
    [
        (9_999, "EUR", None),
        (10_000, "EUR", SMALL),
        (-10_000, "eur", SMALL),
        (999_999, "EUR", SMALL),
        (1_000_000, "EUR", LARGE),
        (0, "JPY", SMALL),
        (1, "XYZ", LARGE),
        (1, "", LARGE),
    ],
)
def test_the_amount_decides_which_policy_applies(
    minor: int, currency: str, policy: ApprovalPolicy | None
) -> None:
    assert policy_for(Money(minor=minor, currency=currency), BANDS) == policy


def test_without_bands_nobody_needs_to_agree() -> None:
    assert policy_for(Money(minor=1, currency="EUR"), []) is None


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.sampled_from(PEOPLE), unique=True).flatmap(
        lambda people: st.tuples(st.permutations(people), st.permutations(people))
    )
)
def test_the_order_in_which_timely_votes_arrive_does_not_matter(orders: tuple[list[str], list[str]]) -> None:
    ends = []
    for people in orders:
        approval = asked()
        approval.delegate(says("ann", to="dan"))
        for actor in people:
            at = ESCALATED + timedelta(seconds=PEOPLE.index(actor))
            approval.vote(says(actor, at=at), approve=True)
        ends.append((approval.state, approval.status().missing))
    assert ends[0] == ends[1]


class Asking(RuleBasedStateMachine):
    """Whatever people say in whatever order: quorum, eligibility and finality hold."""

    def __init__(self) -> None:
        super().__init__()
        self.approval = asked()
        self.ended: ApprovalStatus | None = None
        self.clock = NOW

    @rule(
        actor=st.sampled_from(PEOPLE),
        approve=st.booleans() | st.just(True),
        minutes=st.integers(0, 150),
    )
    def vote(self, actor: str, approve: bool, minutes: int) -> None:
        before = self.approval.status().model_copy(deep=True)
        at = NOW + timedelta(minutes=minutes)
        outcome, _, _ = self.approval.vote(says(actor, at=at), approve=approve)
        if outcome is Outcome.APPLIED:
            assert before.state == ApprovalState.PENDING
            assert at <= DEADLINE
            assert actor != "riley"
        else:
            assert self.approval.status() == before, "what is refused changes nothing"

    @rule(actor=st.sampled_from(PEOPLE), to=st.sampled_from(PEOPLE), minutes=st.integers(0, 150))
    def delegate(self, actor: str, to: str, minutes: int) -> None:
        self.approval.delegate(says(actor, to=to, at=NOW + timedelta(minutes=minutes)))

    @rule(actor=st.sampled_from(PEOPLE), reason=st.sampled_from(["", "Twice."]))
    def withdraw(self, actor: str, reason: str) -> None:
        self.approval.withdraw_by(says(actor, reason=reason))

    @rule(minutes=st.integers(1, 50))
    def time_passes(self, minutes: int) -> None:
        self.clock += timedelta(minutes=minutes)
        self.approval.escalate(self.clock)
        if self.clock >= DEADLINE:
            self.approval.expire()
            assert self.approval.decided

    @rule()
    def a_worker_takes_over(self) -> None:
        carried = self.approval.status().model_dump_json()
        self.approval = Approval.of(ApprovalStatus.model_validate_json(carried))

    @invariant()
    def once_decided_it_stays(self) -> None:
        status = self.approval.status()
        if self.ended is not None:
            assert status.model_dump(exclude={"escalations"}) == self.ended.model_dump(
                exclude={"escalations"}
            )
        elif self.approval.decided:
            self.ended = status.model_copy(deep=True)

    @invariant()
    def approved_means_a_quorum_of_distinct_people_who_may(self) -> None:
        status = self.approval.status()
        rights = [vote.on_behalf_of or vote.actor for vote in status.votes]
        assert len({vote.actor for vote in status.votes}) == len(rights) == len(set(rights))
        for vote, right in zip(status.votes, rights, strict=True):
            allowed = {"approver", "head"} if vote.at and vote.at >= ESCALATED else {"approver"}
            held = [each for each in status.delegations if each.actor == right]
            assert allowed & set(ROLES.get(right, ())) or held
            assert "riley" not in (vote.actor, right)
        if status.state == ApprovalState.APPROVED:
            assert sum(vote.approve for vote in status.votes) == len(rights) >= 2


Asking.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=25)
TestAsking = Asking.TestCase
