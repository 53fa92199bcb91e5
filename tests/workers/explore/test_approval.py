"""ApprovalWorkflow, simulated: what people were told is what is decided, and who must decide is visible."""

from __future__ import annotations

from tests.workers.explore.models import PLATFORM, decision
from workers.contracts import ApprovalPolicy
from workers.patterns.approval.messages import ApprovalRequest, EscalationRule
from workers.patterns.approval.workflow import ApprovalWorkflow
from workers.testing.explore import Scenario
from workers.testing.invariants import always_waits_for_something, history_bounded, waits_are_visible
from workers.testing.messages import Say, spoken
from workers.testing.view import View
from workers.testing.world import World


class Office(World):
    activities = PLATFORM


def the_verdict_is_the_result(view: View) -> str | None:
    """A vote that was told it decides is in the result, and a withdrawn question was not approved."""
    if not view.final or view.ended != "completed":
        return None
    state = view.result["state"]
    for _, label, arguments in view.received("approve", "reject", "withdraw", "cancel"):
        if not arguments or not hasattr(arguments[0], "decision_id"):
            continue
        verdict = view.query("get_decision", arguments[0].decision_id)
        wanted = {"approve": "approved", "reject": "rejected"}.get(label.split("-")[0], "withdrawn")
        if verdict["outcome"] == "applied" and state != wanted:
            return f"{label} was told that it applies, but the result is {state}."
    return None


def an_open_question_is_visible(view: View) -> str | None:
    """Until it is decided, WaitingFor says approval."""
    if view.ended or view.task_failure or view.query("status") != "pending":
        return None
    return None if "approval" in view.waiting_for else "The question is open, but nobody can see it."


REQUEST = ApprovalRequest(
    policy=ApprovalPolicy(needed=1),
    seconds=3_600,
    escalations=[EscalationRule(after_seconds=60, roles=["boss"])],
)
APPROVALS = Scenario(
    ApprovalWorkflow,
    REQUEST,
    Office,
    [
        the_verdict_is_the_result,
        an_open_question_is_visible,
        waits_are_visible,
        always_waits_for_something(),
        history_bounded(),
    ],
    messages=[
        *spoken("approve", decision("approve-1")),
        *spoken("reject", decision("reject-1")),
        Say("withdraw", decision("withdraw-1", reason="Not needed.")),
        Say("delegate", decision("delegate-1", to="bob")),
        Say("cancel", decision("cancel-1")),
    ],
    away=(60, 3_600),
)


def test_the_decision_is_what_people_were_told() -> None:
    APPROVALS.explore(traces=400, seed=1)


def test_every_pair_of_messages_and_deadlines() -> None:
    APPROVALS.explore(depth=1, seconds=8)
