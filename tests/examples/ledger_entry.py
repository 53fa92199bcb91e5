"""An activity for a tenant. Who the tenant is, and that it may, was settled before it is called."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, Field
from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from workers.client.tenancy import current_tenant


class Entry(BaseModel):
    account: str = Field(min_length=1)
    minor: int = Field(ge=1)


@activity.defn(no_thread_cancel_exception=True)
def write_entry(entry: Entry) -> str:
    activity.logger.info("Writing to account %s.", entry.account)
    return f"{current_tenant()}/{entry.account}: {entry.minor}"


@workflow.defn
class LedgerWorkflow:
    @workflow.run
    async def run(self, entry: Entry) -> str:
        if entry.account == "closed":
            raise ValueError("the account is closed")
        return await workflow.execute_activity(
            write_entry, entry, start_to_close_timeout=timedelta(seconds=10)
        )
