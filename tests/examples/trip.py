"""A trip: hotel and flight side by side, insurance as a saga within, and tickets: from then on it is set."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel
from temporalio import activity, workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from workers.client.attributes import SAGA_STATE
    from workers.contracts import Money, SagaStatus
    from workers.patterns.decisions import NO_BODY, DecisionLog, lenient_signal
    from workers.patterns.guarded_calls import GuardedCalls
    from workers.patterns.saga.plan import SagaPlan, SagaStep
    from workers.patterns.saga.saga import Retry, Saga, StepCall, UndoCall, run_shielded
    from workers.patterns.search_attributes import upsert_changed
    from workers.registry.queues import PLATFORM

PATIENT = Retry(attempts=20, initial_seconds=1, maximum_seconds=60)
INSURANCE = SagaPlan(steps=[SagaStep(activity="insure", input={"what": "luggage"}, undo="end_insurance")])

standing: dict[str, str] = {}


class Trip(BaseModel):
    traveller: str
    price: Money


def booking(name: str) -> Any:
    @activity.defn(name=name)
    async def book(call: StepCall) -> None:
        if name == "issue_tickets" and call.input["traveller"] == "nobody":
            raise ApplicationError("Nobody cannot travel.", type="Refused", non_retryable=True)
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
class TripWorkflow:
    def __init__(self) -> None:
        self.holds = GuardedCalls(60, self.show)
        self.saga = Saga(holds=self.holds, changed=self.show)
        self.book = DecisionLog()

    @workflow.run
    async def run(self, trip: Trip) -> str:
        try:
            await self.arrange(trip)
        except (asyncio.CancelledError, FailureError) as error:
            await run_shielded(self.saga.compensate(str(error)))
        else:
            self.saga.complete()
            self.show()
        return self.saga.state

    async def arrange(self, trip: Trip) -> None:
        def call(key: str) -> StepCall:
            return StepCall(idempotency_key=key, input={"traveller": trip.traveller})

        saga = self.saga
        await saga.together(
            saga.step("book_hotel", call, undo="cancel_hotel"),
            saga.step("book_flight", call, undo="cancel_flight"),
        )
        await saga.nested("SagaWorkflow", INSURANCE, name="insurance", queue=PLATFORM)
        await saga.step("charge_card", call, undo="refund_card", undo_retry=PATIENT, amount=trip.price)
        await saga.step("issue_tickets", call, point_of_no_return=True)
        await run_shielded(saga.step("send_tickets", call, attempts=5, must=True))

    def show(self) -> None:
        upsert_changed({SAGA_STATE: self.saga.state.value})

    @workflow.signal
    @lenient_signal
    def resolve_compensation(self, raw: RawValue = NO_BODY) -> None:
        self.book.judge(raw, workflow.now(), self.saga.resolve)

    @workflow.query
    def get_saga_status(self) -> SagaStatus:
        return self.saga.status()
