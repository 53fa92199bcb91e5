"""EventDrivenWorkflow: runs an effect for each event; ends by an event, a decision, or when none comes."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from workers.patterns.decisions import NO_BODY, lenient_signal
    from workers.patterns.events.entity import CANCELLED, Entity
    from workers.patterns.events.fold import Recorded
    from workers.patterns.events.messages import (
        RECEIVED,
        WORKFLOW_EVENT,
        EventDrivenInput,
        EventDrivenResult,
    )


@workflow.defn(name="EventDrivenWorkflow")
class EventDrivenWorkflow(Entity):
    """An entity whose state is how many events came, with effects by the type that each event names."""

    aggregate = RECEIVED
    open_stage = "listening"
    end_stage = "completed"

    @workflow.init
    def __init__(self, start: EventDrivenInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: EventDrivenInput) -> EventDrivenResult:
        await self.run_until_closed()
        received = self._store.state
        return EventDrivenResult(
            reason=self._carried.reason,
            events=received.events,
            last_type=received.last_type,
            followed=self._carried.effects_done,
            failed=[f"{failed.event_id}: {failed.error}" for failed in self._store.given_up()],
        )

    def effect_type(self, event: Recorded) -> str:
        return str(event.body["type"])

    @workflow.signal(name=WORKFLOW_EVENT, description="Something happened. Body: a WorkflowEvent.")
    @lenient_signal
    def workflow_event(self, raw: RawValue = NO_BODY) -> None:
        self.on_event(WORKFLOW_EVENT, raw)

    @workflow.signal(name="cancel", description="End it when its effects are done. Body: a Decision.")
    @lenient_signal
    def cancel(self, raw: RawValue = NO_BODY) -> None:
        self.close(raw, CANCELLED)
