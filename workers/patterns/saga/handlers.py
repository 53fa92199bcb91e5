"""SagaHandlers: the base class of every workflow with a saga."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, SearchAttributeKey
from temporalio.exceptions import FailureError, is_cancelled_exception

from workers.client.attributes import SAGA_STATE
from workers.contracts import SagaState, SagaStatus, WaitingFor
from workers.patterns.decisions import NO_BODY, lenient_signal
from workers.patterns.handlers import HoldHandlers
from workers.patterns.saga.compensation import MakeUndo
from workers.patterns.saga.saga import Saga
from workers.patterns.saga.steps import ActivityOptions
from workers.shielding import run_shielded, wait_until


class SagaHandlers(HoldHandlers):
    """Takes `cancel`, `resolve_compensation` and `resume`; answers `get_saga_status` and `get_decision`;
    keeps SagaState and WaitingFor up to date. `saga` runs the steps; docs/patterns/saga.md shows a whole one.

    subject, undo_input, forward, undo: as for Saga. held_retry: as for HoldHandlers.
    """

    def __init__(
        self,
        *,
        subject: str = "The saga",
        held_retry: timedelta = timedelta(seconds=60),
        undo_input: MakeUndo | None = None,
        forward: ActivityOptions | None = None,
        undo: ActivityOptions | None = None,
    ) -> None:
        super().__init__(held_retry)
        self.saga = Saga(
            self.calls, self.show, subject=subject, undo_input=undo_input, forward=forward, undo=undo
        )

    def reason_of(self, error: BaseException) -> str:
        """Why the steps did not end, as a sentence for people."""
        if is_cancelled_exception(error):
            return self.saga.cancelled_by or "Cancellation was requested."
        cause = getattr(error, "cause", None) or error
        return cause.message if isinstance(cause, FailureError) else str(cause)

    async def finish(self) -> None:
        """Before the run ends: upsert what changed last, and let signal handlers finish."""
        self.show()
        await run_shielded(wait_until(workflow.all_handlers_finished))

    @workflow.signal(name="cancel", description="Stop and undo what was done. Body: a Decision.")
    @lenient_signal
    def cancel(self, raw: RawValue = NO_BODY) -> None:
        self.decide(raw, self.saga.cancel)

    @workflow.signal(name="resolve_compensation", description="Settle what is stuck. Body: a Decision.")
    @lenient_signal
    def resolve_compensation(self, raw: RawValue = NO_BODY) -> None:
        self.decide(raw, self.saga.resolve)

    @workflow.query(name="get_saga_status", description="Steps and compensations.")
    def get_saga_status(self) -> SagaStatus:
        return self.saga.status()

    def waiting_for(self) -> list[str]:
        stuck = [WaitingFor.OPERATOR.value] if self.saga.state is SagaState.STUCK else []
        return [*stuck, *super().waiting_for()]

    def attributes(self) -> dict[SearchAttributeKey[Any], Any]:
        return {SAGA_STATE: self.saga.state.value}
