"""ApprovalWorkflow on a real server: votes exactly once, by their own time, whatever workers do."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.service import RPCError, RPCStatusCode

from tests.examples.approval import Payout, PayoutWorkflow, pay
from tests.golden import replays
from tests.support import eventually
from workers.client.attributes import DEADLINE, STAGE, WAITING_FOR
from workers.contracts import (
    ApprovalPolicy,
    ApprovalState,
    ApprovalStatus,
    Decision,
    Escalation,
    Money,
    Outcome,
    Verdict,
)
from workers.contracts.alerts import RAISE_ALERT, Alert
from workers.patterns.approval.messages import ApprovalRequest, ApprovalResult, EscalationRule
from workers.patterns.approval.workflow import ApprovalWorkflow
from workers.payloads.validation import INVALID_INPUT
from workers.registry.queues import PLATFORM
from workers.testing.swap import swapped

TWO = ApprovalPolicy(quorum=2, roles=["approver"], self_approval=False, delegation=True)
APPROVER = {"roles": ["approver"]}

Handle = WorkflowHandle[Any, ApprovalResult]


class Bench:
    """One queue, and the calls that the console makes."""

    def __init__(self, client: Client, queue: str, worker: Any) -> None:
        self.client, self.queue, self._worker = client, queue, worker

    def running(self) -> Any:
        return self._worker(self.queue, workflows=[ApprovalWorkflow], activities=[pay])

    async def ask(self, policy: ApprovalPolicy | None = None, **more: Any) -> Handle:
        request = ApprovalRequest(
            subject="Payout 7",
            requester="riley",
            policy=policy or ApprovalPolicy(),
            **{"seconds": 600, **more},
        )
        return await self.client.start_workflow(
            ApprovalWorkflow.run, request, id=f"approval-{uuid.uuid4().hex}", task_queue=self.queue
        )


@pytest.fixture
def bench(client: Client, queue: str, worker: Any) -> Bench:
    return Bench(client, queue, worker)


def decision(actor: str = "ann", **more: Any) -> Decision:
    return Decision(decision_id=more.pop("decision_id", uuid.uuid4().hex), actor=actor, **more)


async def verdict(handle: Handle, decision_id: str) -> Verdict:
    return await handle.query("get_decision", decision_id, result_type=Verdict)


async def say(handle: Handle, signal: str, body: Decision) -> Verdict:
    await handle.signal(signal, body)
    return await verdict(handle, body.decision_id)


async def status(handle: Handle) -> ApprovalStatus:
    return await handle.query("get_approval_status", result_type=ApprovalStatus)


async def marks(handle: Handle) -> tuple[Any, ...]:
    known = (await handle.describe()).typed_search_attributes
    return tuple(known.get(key) for key in (STAGE, WAITING_FOR, DEADLINE))


async def test_the_classic_a_bare_approve_takes_it_from_pending_to_approved(bench: Bench) -> None:
    async with bench.running():
        handle = await bench.ask()
        assert await handle.query("status") == "pending"
        await handle.signal("approve")
        result = await handle.result()
        assert await handle.query("status") == "approved"
    assert (result.state, result.approved, result.decided_by) == ("approved", True, [])
    assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED


async def test_an_id_belongs_to_who_sent_it_first_and_each_vote_keeps_its_own(bench: Bench) -> None:
    async with bench.running():
        handle = await bench.ask(TWO)
        mine = decision("ann", **APPROVER)
        await say(handle, "approve", mine)
        theirs = decision("bob", decision_id=mine.decision_id, reason="No.", **APPROVER)
        answer = await say(handle, "reject", theirs)
        asked = await status(handle)
    assert (answer.actor, answer.signal, answer.outcome) == ("ann", "approve", Outcome.APPLIED)
    assert [(vote.actor, vote.decision_id) for vote in asked.votes] == [("ann", mine.decision_id)]
    assert asked.state == ApprovalState.PENDING


async def test_two_of_a_role_and_the_result_says_who_when_and_why(bench: Bench) -> None:
    async with bench.running():
        handle = await bench.ask(TWO)
        own = await say(handle, "approve", decision("Riley", **APPROVER))
        bare = await say(handle, "approve", Decision(decision_id="bare", roles=["approver"]))
        first = await say(handle, "approve", decision("ann", reason="Known.", **APPROVER))
        again = await say(handle, "approve", decision("ANN", **APPROVER))
        asked = await status(handle)
        stage, waiting, deadline = await marks(handle)
        last = decision("bob", reason="Fine.", **APPROVER)
        await handle.signal("approve", last)
        result = await handle.result()
        known = await verdict(handle, last.decision_id)
        await replays(bench.client, handle, "approval-quorum", [ApprovalWorkflow])
    assert (own.outcome, bare.outcome, first.outcome) == (Outcome.REFUSED, Outcome.REFUSED, Outcome.APPLIED)
    assert again.outcome == Outcome.ALREADY_DECIDED
    assert (asked.missing, stage, waiting, deadline) == (1, "approval", ["approval"], asked.deadline)
    assert (result.decided_by, result.reason) == (["ann", "bob"], "Fine.")
    assert result.decided_at == result.votes[1].at
    assert known.detail == "Approved."
    assert await marks(handle) == ("approved", None, None)


@pytest.fixture
def heard() -> Iterator[list[Alert]]:
    """The alerts that are raised meanwhile."""
    alerts: list[Alert] = []
    with swapped(RAISE_ALERT, alerts.append):
        yield alerts


async def test_a_delegate_votes_instead_and_a_head_after_the_escalation(
    bench: Bench, heard: list[Alert]
) -> None:
    rules = [EscalationRule(after_seconds=0.2, roles=["head"])]
    async with bench.running():
        handle = await bench.ask(TWO, escalations=rules)
        handed = await say(handle, "delegate", decision("ann", to="dan", **APPROVER))
        voted = await say(handle, "approve", decision("dan"))
        alert = (await eventually(lambda: heard))[0]
        assert (await status(handle)).escalations[0].reached
        await handle.signal("approve", decision("hugo", roles=["head"]))
        result = await handle.result()
        await replays(bench.client, handle, "approval-escalated", [ApprovalWorkflow])
    assert (handed.outcome, voted.outcome) == (Outcome.APPLIED, Outcome.APPLIED)
    assert [(vote.actor, vote.on_behalf_of) for vote in result.votes] == [("dan", "ann"), ("hugo", "")]
    assert alert.detail == "Now head may decide too."
    assert "Payout 7" in alert.title


async def test_the_next_run_tells_again_what_the_last_one_may_not_have_told(
    bench: Bench, heard: list[Alert]
) -> None:
    begun = datetime.now(UTC)
    carried = ApprovalStatus(
        policy=TWO,
        missing=2,
        deadline=begun + timedelta(hours=1),
        escalations=[Escalation(at=begun, roles=[], reached=True)],
    )
    async with bench.running():
        handle = await bench.ask(status=carried)
        assert (await eventually(lambda: heard))[0].detail == "It is not decided yet."
        assert heard[0].alert_id == f"{handle.first_execution_run_id}/escalation/1"
        await handle.terminate()


async def test_a_deadline_that_no_calendar_has_fails_it_at_once(bench: Bench) -> None:
    async with bench.running():
        with pytest.raises(WorkflowFailureError) as caught:
            await bench.client.execute_workflow(
                "ApprovalWorkflow", {"seconds": 1e300}, id=uuid.uuid4().hex, task_queue=bench.queue
            )
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == INVALID_INPUT


async def test_the_requester_withdraws_with_a_reason(bench: Bench) -> None:
    async with bench.running():
        handle = await bench.ask(TWO)
        mute = await say(handle, "withdraw", decision("riley"))
        await handle.signal("withdraw", decision("riley", reason="Ordered twice."))
        result = await handle.result()
        await replays(bench.client, handle, "approval-withdrawn", [ApprovalWorkflow])
    assert (mute.outcome, mute.detail) == (Outcome.REFUSED, "Say why it is withdrawn.")
    assert (result.state, result.approved, result.reason) == ("withdrawn", False, "Ordered twice.")


@pytest.mark.parametrize(("on_timeout", "approved"), [("reject", False), ("approve", True)])
async def test_without_a_decision_the_default_holds(bench: Bench, on_timeout: str, approved: bool) -> None:
    async with bench.running():
        handle = await bench.ask(seconds=0.1, on_timeout=on_timeout)
        result = await handle.result()
        await replays(bench.client, handle, f"approval-timeout-{on_timeout}", [ApprovalWorkflow])
    assert (result.approved, result.decided_by) == (approved, [])
    assert result.decided_at == (await status_after(bench, handle)).deadline


async def status_after(bench: Bench, handle: Handle) -> ApprovalStatus:
    async with bench.running():
        return await status(handle)


async def over_the_deadline(bench: Bench) -> tuple[Handle, datetime]:
    """A question whose deadline passed while no worker ran; asked with more time on a slow machine."""
    for seconds in (1, 5, 25):
        async with bench.running():
            handle = await bench.ask(seconds=seconds)
            deadline = (await status(handle)).deadline
        if deadline is not None and datetime.now(UTC) < deadline:
            break
    assert deadline is not None
    enough = deadline + timedelta(seconds=0.3)
    await eventually(lambda: datetime.now(UTC) > enough)
    return handle, deadline


@pytest.mark.parametrize(("late", "state"), [(False, "approved"), (True, "expired")])
async def test_with_all_workers_down_over_the_deadline_a_vote_counts_by_its_own_time(
    bench: Bench, late: bool, state: str
) -> None:
    handle, deadline = await over_the_deadline(bench)
    body = decision(at=deadline + timedelta(seconds=0.1 if late else -0.1))
    await handle.signal("approve", body)
    async with bench.running():
        assert (await handle.result()).state == state
        said = await verdict(handle, body.decision_id)
    assert said.outcome == (Outcome.REFUSED if late else Outcome.APPLIED)


async def test_two_people_at_once_one_applies_one_learns_who_was_first(bench: Bench) -> None:
    async with bench.running():
        handle = await bench.ask()
        one, two = decision("ann"), decision("bob", reason="No.")
        await asyncio.gather(handle.signal("approve", one), handle.signal("reject", two))
        result = await handle.result()
        said = [await verdict(handle, body.decision_id) for body in (one, two)]
    assert sorted(each.outcome for each in said) == [Outcome.ALREADY_DECIDED, Outcome.APPLIED]
    assert {each.by for each in said} == set(result.decided_by)


async def test_votes_and_verdicts_survive_continue_as_new(bench: Bench) -> None:
    async with bench.running():
        first = await bench.ask(TWO, most_events=25)
        newest: Any = bench.client.get_workflow_handle_for(ApprovalWorkflow.run, first.id)
        vote = decision("ann", **APPROVER)
        before = await say(newest, "approve", vote)

        async def renewed() -> bool:
            await newest.signal("approve", decision("eve"))  # has no role
            return (await newest.describe()).run_id != first.result_run_id

        await eventually(renewed)
        assert await say(newest, "approve", vote) == before
        assert [each.actor for each in (await status(newest)).votes] == ["ann"]
        stray = await say(newest, "approve", decision("bob", chain="of-another", **APPROVER))
        mine = decision("bob", chain=first.first_execution_run_id, **APPROVER)
        await newest.signal("approve", mine)
        result = await first.result()
    assert (stray.outcome, stray.detail) == (
        Outcome.REFUSED,
        "The decision is about another run under this id.",
    )
    assert result.decided_by == ["ann", "bob"]


async def test_wrong_bodies_are_refused_and_lose_nothing(bench: Bench) -> None:
    async with bench.running():
        handle = await bench.ask(TWO)
        for signal in ("approve", "reject", "withdraw", "delegate"):
            await handle.signal(signal)
            await handle.signal(signal, "garbage")
            await handle.signal(signal, {"decision_id": {"nested": 1}})
            await handle.signal(signal, args=[{"decision_id": uuid.uuid4().hex}, 2, 3])
        assert await handle.query("status") == "pending"
        assert (await verdict(handle, "unnamed-1")).detail == "The decision names no actor."
        assert (await verdict(handle, "unnamed-12")).outcome == Outcome.REFUSED
        await handle.signal("cancel", decision("op", reason="Enough."))
        result = await handle.result()
        with pytest.raises(RPCError) as closed:
            await handle.signal("approve", decision("ann", **APPROVER))
    assert (result.state, result.decided_by, result.reason) == ("withdrawn", ["op"], "Enough.")
    assert closed.value.status is RPCStatusCode.NOT_FOUND


async def test_native_cancellation_takes_the_question_back(bench: Bench) -> None:
    async with bench.running():
        handle = await bench.ask()
        await handle.query("status")
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert await handle.query("status") == ApprovalState.WITHDRAWN
    assert isinstance(caught.value.cause, CancelledError)
    assert await marks(handle) == ("withdrawn", None, None)


async def test_the_example_asks_by_the_amount(bench: Bench, worker: Any) -> None:
    async def payout(minor: int) -> WorkflowHandle[Any, str]:
        amount = Money(minor=minor, currency="EUR")
        given = Payout(number=7, requester="riley", amount=amount)
        return await bench.client.start_workflow(
            PayoutWorkflow.run, given, id=f"payout-{uuid.uuid4().hex}", task_queue=bench.queue
        )

    async with (
        worker(PLATFORM, workflows=[ApprovalWorkflow]),
        worker(bench.queue, workflows=[PayoutWorkflow], activities=[pay]),
    ):
        small, large = await payout(99_99), await payout(10_000_00)
        assert await small.result() == "PAY-7"
        question = bench.client.get_workflow_handle(f"{large.id}-approval")

        async def asked() -> bool:
            try:
                return (await question.describe()).status is WorkflowExecutionStatus.RUNNING
            except RPCError:
                return False

        await eventually(asked)
        assert (await status(question)).policy.quorum == 2
        await question.signal("reject", decision("ann", reason="Not this year.", **APPROVER))
        assert await large.result() == "Not paid, it was rejected: Not this year."
