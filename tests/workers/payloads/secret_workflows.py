"""Workflows and activities that the tests of payloads run on a server."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import BaseModel
from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from workers.client.attributes import WAITING_FOR
    from workers.patterns.search_attributes import upsert_changed
    from workers.payloads.claims import reveal

MINUTE = timedelta(minutes=1)
ONCE = RetryPolicy(maximum_attempts=1)
calls: list[str] = []


class Transfer(BaseModel):
    """Money that moves once."""

    id: str
    amount: Decimal
    note: str = ""


@activity.defn(no_thread_cancel_exception=True)
def move(transfer: Transfer) -> Transfer:
    calls.append(transfer.id)
    return transfer


@activity.defn(no_thread_cancel_exception=True)
def undo(transfer: Transfer) -> None:
    calls.append(f"undo {transfer.id}")


@workflow.defn
class MovingWorkflow:
    """Moves once, on the queue it is told, and undoes that when it fails."""

    @workflow.run
    async def run(self, transfer: Transfer, queue: str) -> Transfer:
        options: Any = {"task_queue": queue, "start_to_close_timeout": MINUTE, "retry_policy": ONCE}
        try:
            return await workflow.execute_activity(move, transfer, **options)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            await workflow.execute_activity(undo, transfer, **options)
            raise


@workflow.defn
class KeepingWorkflow:
    """Moves once, while it waits for something else besides."""

    @workflow.run
    async def run(self, transfer: Transfer, queue: str) -> Transfer:
        upsert_changed({WAITING_FOR: ["approval"]})
        return await workflow.execute_activity(
            move, transfer, task_queue=queue, start_to_close_timeout=MINUTE, retry_policy=ONCE
        )


@activity.defn(no_thread_cancel_exception=True)
def produce(result: str, size: int) -> dict[str, str]:
    return {result: "x" * size}


@activity.defn(no_thread_cancel_exception=True)
def take(value: dict[str, Any]) -> dict[str, Any]:
    """What arrived, and how many letters the password that only an activity may see has."""
    calls.append(str(value))
    return {"got": str(value), "letters": len(reveal(value["customer"]["password"]))}


@workflow.defn
class SendingWorkflow:
    """Sends what it makes, in each way that there is."""

    @workflow.run
    async def run(self, how: str, field: str, size: int) -> Any:
        value = {"customer": {field: "x" * size}}
        options: Any = {"start_to_close_timeout": MINUTE, "retry_policy": RetryPolicy(maximum_attempts=3)}
        if how == "input":
            return await workflow.execute_activity(take, value, **options)
        if how == "local":
            return await workflow.execute_local_activity(take, value, **options)
        if how == "output":
            return await workflow.execute_activity(produce, args=[field, size], **options)
        if how == "child":
            return await workflow.execute_child_workflow(SendingWorkflow.run, args=["", value, 0])
        if how == "signal":
            await workflow.get_external_workflow_handle("nobody").signal("hello", value)
        if how == "next":
            workflow.continue_as_new(args=["", value, 0])
        if how == "memo":
            workflow.upsert_memo(value["customer"])
        if how == "failure":
            raise ApplicationError("It did not work.", value, type="Broken")
        return value


@workflow.defn
class TakingWorkflow:
    """Passes on what it is given, as workflows do."""

    @workflow.run
    async def run(self, value: dict[str, Any]) -> Any:
        return await workflow.execute_activity(take, value, start_to_close_timeout=MINUTE)


@workflow.defn
class AnsweringWorkflow:
    """Answers queries with what JSON has no words for, until it is let go; then it fails."""

    def __init__(self) -> None:
        self.done = False

    @workflow.run
    async def run(self, told: str) -> None:
        await workflow.wait_condition(lambda: self.done)
        raise ApplicationError(f"Refused: {told}", {"told": told}, type="Refused")

    @workflow.signal
    def go(self) -> None:
        self.done = True

    @workflow.query
    def get_state(self) -> dict[str, Any]:
        return {
            "at": datetime.fromisoformat("2026-01-02T03:04:05+00:00"),
            "amount": Decimal("1.20"),
            "set": {1},
        }

    @workflow.query
    def get_transfer(self) -> Transfer:
        return Transfer(id="t", amount=Decimal("1.20"))
