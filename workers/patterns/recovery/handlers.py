"""The desk of a recovery: what people and breakers tell it, and what it answers.

RecoveryWorkflow inherits this; the state is here, the way through it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from workers.client.attributes import SAGA_STATE, WAITING_FOR
    from workers.contracts import (
        Decision,
        Outcome,
        SagaState,
        SagaStatus,
        Status,
        StepState,
        StepStatus,
        Verdict,
        WaitingFor,
    )
    from workers.patterns.decisions import NO_BODY, DecisionLog, DecisionResult, lenient_signal
    from workers.patterns.dynamic.resolve import Resolved
    from workers.patterns.guarded_calls import GuardedCalls
    from workers.patterns.recovery.recovery import Recovery, RecoveryPlan
    from workers.patterns.saga.cancellation import CancellableForward
    from workers.patterns.saga.compensation import Operator
    from workers.patterns.saga.ledger import Ledger
    from workers.patterns.search_attributes import upsert_changed

STAGES = {
    SagaState.RUNNING: "trying",
    SagaState.STUCK: "escalated",
    SagaState.COMPENSATING: "compensating",
}


class RecoveryHandlers:
    """Answers get_saga_status, get_status, get_state and get_decision."""

    def __init__(self, plan: RecoveryPlan) -> None:
        info, carried = workflow.info(), plan.carried
        self._plan = plan
        self._input = carried.input if carried else plan.input
        self._result: Any = None
        self._outcome = self._end = ""
        self._updated_at = workflow.now()
        self._recovery = carried.recovery if carried else Recovery(policy=plan.policy)
        self._book = carried.book if carried else DecisionLog(chain=info.first_execution_run_id)
        self._activity = Resolved(name=carried.activity, queue=carried.queue) if carried else None
        self._undo_queue = carried.undo_queue if carried else ""
        self._ledger = Ledger(self._show)
        self._holds = GuardedCalls(plan.rules.held_retry_seconds, self._show)
        self._operator = Operator(self._ledger)
        undo = "SagaWorkflow" if plan.undoing and plan.undoing.saga else ""
        undo = plan.undoing.workflow if plan.undoing and plan.undoing.workflow else undo
        self._entry = self._ledger.register(
            info.first_execution_run_id, StepStatus(name=plan.activity), undo=undo, editable=True
        )
        if carried:
            self._entry.touched, self._entry.runs = carried.touched, carried.runs
            self._revise(carried.revision)
        self._way = CancellableForward[str](subject="The operation", objection=self._objection)

    def _edit(self, given: dict[str, Any]) -> None:
        self._input, self._entry.edited = given, None
        self._revise(self._entry.revision)

    def _revise(self, revision: int) -> None:
        """From the second on, a revision of the input has a key of its own."""
        self._entry.revision = revision
        if revision > 1:
            key = f"{workflow.info().first_execution_run_id}/{self._plan.activity}/1"
            self._entry.status.idempotency_key = f"{key}/r{revision}"

    def _objection(self) -> str:
        if self._plan.undoing is None and self._entry.maybe:
            return "It may have happened, and nothing is declared that undoes it; resolve it instead."
        return ""

    def _resolve(self, decision: Decision) -> DecisionResult:
        undo = self._entry.status.compensation
        stuck = undo is not None and undo.status == StepState.STUCK
        if stuck and decision.input is not None and not (self._plan.undoing and self._plan.undoing.workflow):
            return Outcome.REFUSED, "What undoes it is a saga; its input cannot be edited.", ""
        return self._ledger.resolve(decision)

    def _decide(self, raw: object, act: Callable[[Decision], DecisionResult]) -> None:
        self._book.judge(raw, workflow.now(), act)

    @workflow.signal(name="cancel", description="Stop, and undo what may have happened. Body: a Decision.")
    @lenient_signal
    def cancel(self, raw: RawValue = NO_BODY) -> None:
        self._decide(raw, self._way.cancel)

    @workflow.signal(name="resolve_compensation", description="Settle what is stuck. Body: a Decision.")
    @lenient_signal
    def resolve_compensation(self, raw: RawValue = NO_BODY) -> None:
        self._decide(raw, self._resolve)

    @workflow.signal(name="resume", description="A breaker lets it go on. Body: a Resume.")
    @lenient_signal
    def resume(self, raw: RawValue = NO_BODY) -> None:
        self._holds.resume(raw)

    @workflow.query(name="get_saga_status", description="The operation and what undoes it.")
    def saga_status(self) -> SagaStatus:
        return self._ledger.status()

    @workflow.query(name="get_state", description="Every attempt, and what was decided then.")
    def state(self) -> dict[str, Any]:
        kept = self._recovery.model_dump(mode="json", include={"attempts", "total", "policy"})
        return {"activity": self._plan.activity, **kept}

    @workflow.query(name="get_decision", description="The verdict on a decision, by its id.")
    def decision(self, decision_id: str) -> Verdict:
        return self._book.get(decision_id)

    @workflow.query(name="get_status", description="Where it is and what happens next.")
    def status(self) -> Status:
        state = self._ledger.state
        return Status(
            status=state,
            stage=self._end or STAGES.get(state, state),
            updated_at=self._updated_at,
            waiting_for=self._waiting_for(),
            summary=self._outcome or self._sentence(state),
        )

    def _sentence(self, state: SagaState) -> str:
        if state is SagaState.STUCK:
            return "An operator must say how to go on."
        if self._holds.held:
            return f"Held until {' and '.join(self._holds.held)} works again; then it goes on by itself."
        if self._recovery.total:
            last = self._recovery.attempts[-1]
            return f"{self._recovery.total} attempts failed, the last with {last.error_type}; it tries again."
        return f"{self._plan.activity} is being tried."

    def _waiting_for(self) -> list[str]:
        operator = [WaitingFor.OPERATOR.value] if self._ledger.state is SagaState.STUCK else []
        return [*operator, *self._holds.waiting_for()]

    def _show(self) -> None:
        self._updated_at = workflow.now()
        upsert_changed({SAGA_STATE: self._ledger.state.value, WAITING_FOR: self._waiting_for()})
