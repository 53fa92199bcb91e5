"""A trip: hotel and flight side by side, insurance as a saga within, and tickets: from then on it is set."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel
from temporalio import activity, workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from workers.contracts import Money
    from workers.contracts.effects import effect_refused
    from workers.patterns.saga.handlers import SagaHandlers
    from workers.patterns.saga.messages import Retry, StepCall, UndoCall
    from workers.patterns.saga.plan import SagaPlan, SagaStep
    from workers.registry.queues import PLATFORM
    from workers.shielding import run_shielded

PATIENT = Retry(attempts=20, maximum_seconds=60)
INSURANCE = SagaPlan(steps=[SagaStep(activity="insure", input={"what": "luggage"}, undo="end_insurance")])

standing: dict[str, str] = {}


class Trip(BaseModel):
    traveller: str
    price: Money


def booking(name: str) -> Any:
    @activity.defn(name=name)
    async def book(call: StepCall) -> None:
        if name == "issue_tickets" and call.input["traveller"] == "nobody":
            raise effect_refused("Nobody cannot travel.")
        standing[call.idempotency_key] = name

    return book


def cancelling(name: str) -> Any:
    @activity.defn(name=name)
    async def cancel(call: UndoCall) -> None:
        standing.pop(call.idempotency_key, None)

    return cancel


BOOKED = ("book_hotel", "book_flight", "insure", "charge_card", "issue_tickets", "send_tickets")
UNDONE = ("cancel_hotel", "cancel_flight", "end_insurance", "refund_card")
ACTIVITIES = [*map(booking, BOOKED), *map(cancelling, UNDONE)]


@workflow.defn
class TripWorkflow(SagaHandlers):
    def __init__(self) -> None:
        super().__init__(subject="The trip")

    @workflow.run
    async def run(self, trip: Trip) -> str:
        try:
            await self.saga.run(self.book(trip))
        except (asyncio.CancelledError, FailureError) as error:
            await self.saga.compensate(self.reason_of(error))
        else:
            self.saga.complete()
        await self.finish()
        return self.saga.state

    async def book(self, trip: Trip) -> None:
        def call(key: str) -> StepCall:
            return StepCall(idempotency_key=key, input={"traveller": trip.traveller})

        saga = self.saga
        await saga.together(
            saga.step("book_hotel", call, undo="cancel_hotel"),
            saga.step("book_flight", call, undo="cancel_flight"),
        )
        await saga.nested("SagaWorkflow", INSURANCE, name="insurance", task_queue=PLATFORM)
        await saga.step("charge_card", call, undo="refund_card", undo_retry=PATIENT, amount=trip.price)
        await saga.step("issue_tickets", call, point_of_no_return=True)
        await run_shielded(saga.step("send_tickets", call, required=True))
