"""A delivery that says how it is launched: callers need its input and nothing else."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, Field
from temporalio import activity, workflow
from temporalio.common import SearchAttributePair

with workflow.unsafe.imports_passed_through():
    from workers.client.attributes import STAGE
    from workers.client.launchable import launchable


class Delivery(BaseModel):
    number: str = Field(pattern=r"^\d{1,12}$")
    grams: int = Field(ge=1)
    note: str = ""


@activity.defn(no_thread_cancel_exception=True)
def weigh_delivery(delivery: Delivery) -> int:
    return delivery.grams


@launchable(
    id=lambda delivery: f"delivery-{delivery.number}",
    attributes=lambda delivery: [SearchAttributePair(STAGE, "received")],
    memo=lambda delivery: {"grams": delivery.grams},
    summary=lambda delivery: f"Delivery {delivery.number}",
    identity=lambda delivery: delivery.model_dump(exclude={"note"}, exclude_defaults=True),
)
@workflow.defn
class DeliveryWorkflow:
    @workflow.run
    async def run(self, delivery: Delivery) -> int:
        return await workflow.execute_activity(
            weigh_delivery, delivery, start_to_close_timeout=timedelta(seconds=10)
        )
