"""Database transactions from workflow code: named operations, all or nothing, once for each key.

Workflow code names the operations; what they do is in functions that `operations.py` registers, and the
activity in `activities.py` runs them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field
from temporalio import workflow
from temporalio.common import RetryPolicy

from workers.registry.queues import PLATFORM

RUN_TRANSACTION = "run_transaction"
LONGEST_NAME = 200


class Call(BaseModel):
    """A registered operation and its input, a model or a mapping of JSON values."""

    operation: str = ""
    input: Any = None


class Transaction(BaseModel):
    """What is committed together under `transaction_id`, at most once, in the order given."""

    transaction_id: str = ""
    calls: list[Call] = Field(default_factory=list)


async def transact(
    key: str, *calls: Call, queue: str = PLATFORM, seconds: float = 30, attempts: int = 0
) -> list[Any]:
    """Commit `calls` together and return what each answered, as JSON.

    `key` names this transaction among those of the workflow; a retry, a replay and a later run of the chain
    find it applied. `seconds`: one try. `attempts` 0: tried until the database is there. Raises
    ActivityError, whose cause says what was refused: nothing has been changed then.
    """
    answers: list[Any] = await workflow.execute_activity(
        RUN_TRANSACTION,
        Transaction(transaction_id=f"{workflow.info().first_execution_run_id}/{key}", calls=list(calls)),
        task_queue=queue,
        summary=", ".join(call.operation for call in calls)[:LONGEST_NAME],
        start_to_close_timeout=timedelta(seconds=seconds),
        retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=attempts),
        result_type=list,
    )
    return answers
