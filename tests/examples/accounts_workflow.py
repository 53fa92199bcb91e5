"""The workflow of docs/patterns/payloads.md."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from tests.examples.accounts import Account, open_account


@workflow.defn
class OpenAccountWorkflow:
    @workflow.run
    async def run(self, account: Account) -> dict[str, Any]:
        # Here account.password is "claim:secrets/…", and account.limits holds what it held.
        return await workflow.execute_activity(
            open_account, account, start_to_close_timeout=timedelta(seconds=10)
        )
