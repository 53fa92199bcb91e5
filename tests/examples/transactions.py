"""Two customers become one: two changes that happen together, or not at all."""

from __future__ import annotations

from pydantic import BaseModel
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workers.patterns.transactions.calls import Call, transact


class Merger(BaseModel):
    kept: str
    gone: str
    name: str


@workflow.defn
class MergeCustomers:
    @workflow.run
    async def run(self, merger: Merger) -> str:
        kept, _ = await transact(
            "merge",
            Call(operation="customer.update", input={"number": merger.kept, "name": merger.name}),
            Call(operation="customer.delete", input={"number": merger.gone}),
        )
        return f"{kept['number']} is {kept['name']} now."
