"""The record of a customer. Only the business step is here: all else is done around it, by interceptors."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel, Field
from temporalio import activity, workflow
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from workers.patterns.transactions.calls import Call, transact


class CustomerWork(BaseModel):
    operation: Literal["create", "update", "delete"]
    number: str = Field(pattern=r"^C-\d{1,10}$")
    name: str = Field("", max_length=80)


@activity.defn(no_thread_cancel_exception=True)
def tell_others(record: dict[str, Any]) -> None:
    activity.logger.info("Customer %s has changed.", record["number"])


@workflow.defn
class CustomerChanged:
    @workflow.run
    async def run(self, record: dict[str, Any]) -> None:
        await workflow.execute_activity(tell_others, record, start_to_close_timeout=timedelta(seconds=10))


@workflow.defn
class CustomerWorkflow:
    @workflow.run
    async def run(self, work: CustomerWork) -> dict[str, Any]:
        [record] = await transact("record", Call(operation=f"customer.{work.operation}", input=work))
        _ = await workflow.start_child_workflow(
            CustomerChanged.run,
            record,
            id=f"{workflow.info().workflow_id}-changed",
            parent_close_policy=ParentClosePolicy.ABANDON,
        )
        return dict(record)
