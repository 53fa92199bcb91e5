"""EventSourcedWorkflow: a customer's account, built from the orders placed and the payments made."""

from __future__ import annotations

from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from workers.patterns.decisions import NO_BODY, lenient_signal
    from workers.patterns.events.account import ACCOUNT
    from workers.patterns.events.entity import Entity
    from workers.patterns.events.messages import EntityInput


@workflow.defn(name="EventSourcedWorkflow")
class EventSourcedWorkflow(Entity):
    """Lives until `close_account`. Its argument is an EntityInput; the result is the last state."""

    aggregate = ACCOUNT

    @workflow.run
    async def run(self, start: EntityInput) -> dict[str, Any]:
        return await self.run_until_closed()

    @workflow.signal(name="place_order", description="An order came in. Body: a PlaceOrder.")
    @lenient_signal
    def place_order(self, raw: RawValue = NO_BODY) -> None:
        self.on_event("place_order", raw)

    @workflow.signal(name="process_payment", description="Money came in. Body: a ProcessPayment.")
    @lenient_signal
    def process_payment(self, raw: RawValue = NO_BODY) -> None:
        self.on_event("process_payment", raw)

    @workflow.signal(name="close_account", description="Close it, effects first. Body: a Decision.")
    @lenient_signal
    def close_account(self, raw: RawValue = NO_BODY) -> None:
        self.close(raw)

    def close_objection(self) -> str:
        unpaid = len(self._store.state.open_orders)
        return f"{unpaid} orders are not paid." if unpaid else ""
