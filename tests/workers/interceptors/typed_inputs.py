"""Workflows and an activity with typed inputs, which the tests of validation give the wrong ones."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, Field
from temporalio import activity, workflow

SHORT = timedelta(seconds=10)


class Parcel(BaseModel):
    weight: int = Field(ge=1)
    label: str


class StrictParcel(Parcel):
    """What a later build makes of a parcel."""

    insured: bool


@workflow.defn(name="Shipping")
class ShippingWorkflow:
    @workflow.init
    def __init__(self, parcel: Parcel) -> None:
        self.label = parcel.label

    @workflow.run
    async def run(self, parcel: Parcel) -> str:
        return self.label


@workflow.defn(name="Plain")
class PlainWorkflow:
    @workflow.run
    async def run(self, parcel: Parcel) -> str:
        return parcel.label


@activity.defn(name="weigh", no_thread_cancel_exception=True)
def weigh(parcel: Parcel) -> int:
    return parcel.weight


@workflow.defn(name="Weighing")
class WeighingWorkflow:
    @workflow.run
    async def run(self, bodies: list[object]) -> int:
        return await workflow.execute_activity("weigh", args=bodies, start_to_close_timeout=SHORT)


@workflow.defn(name="Waiting")
class WaitingWorkflow:
    """`go` ends it."""

    def __init__(self) -> None:
        self.done = False

    @workflow.run
    async def run(self, parcel: Parcel) -> str:
        await workflow.wait_condition(lambda: self.done)
        return parcel.label

    @workflow.signal
    def go(self) -> None:
        self.done = True


@workflow.defn(name="Waiting")
class StricterWaitingWorkflow:
    @workflow.run
    async def run(self, parcel: StrictParcel) -> str:
        await workflow.wait_condition(lambda: False)
        return parcel.label

    @workflow.signal
    def go(self) -> None: ...
