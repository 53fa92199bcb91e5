"""Workflows of another team: with attributes as told, and with answers that fit the contracts fully,
half, or not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ApplicationError

_SECONDS = timedelta(seconds=5)


@workflow.defn(name="Scripted")
class Scripted:
    """Sets the attributes it is given, and ends, or not, as it is told."""

    @workflow.run
    async def run(self, end: str, attributes: dict[str, Any]) -> None:
        of, of_list = SearchAttributeKey.for_keyword, SearchAttributeKey.for_keyword_list
        for name, value in attributes.items():
            key: Any = (of_list if isinstance(value, list) else of)(name)
            workflow.upsert_search_attributes([key.value_set(value)])
        if end == "fail":
            raise ApplicationError("told to")
        if end == "wait":
            await workflow.wait_condition(lambda: False)


SAGA = {
    "state": "compensating",
    "steps": [
        {
            "name": "Charge",
            "activity_id": "charge",
            "status": "done",
            "amount": {"minor": 31040, "currency": "EUR"},
            "compensation": {"name": "Refund", "activity_id": "refund", "status": "running"},
        },
        {"name": "Notify", "status": "pending", "point_of_no_return": True},
    ],
}
FULL: dict[str, Any] = {
    "get_saga_status": SAGA,
    "get_circuit_status": {"state": "OPEN", "dependency": "freight", "threshold": 5, "failure_count": 5},
    "get_approval_status": {
        "state": "pending",
        "subject": "A large one",
        "policy": {"quorum": 2, "roles": ["finance"]},
        "votes": [{"actor": "Mara Lind", "reason": "known customer"}],
        "missing": 1,
    },
    "get_progress": {"total": 10, "done": 4, "failed": 1, "failed_items": [{"row": 7}]},
    "get_status": {"status": "running", "summary": "It refunds, and then ends."},
    "get_state": {"cart": {"items": [1, 2, {"sku": "<b>bold</b>"}]}, "empty": {}},
}
HALF: dict[str, Any] = {
    "get_saga_status": {"steps": [{"name": 7, "status": "levitating"}, "no step", {}]},
    "get_circuit_status": ["not", "an", "object"],
    "get_approval_status": {"missing": "many", "votes": [{"actor": "Jon"}, 3], "deadline": "soon"},
    "get_progress": {},
    "get_status": "just text",
    "get_state": "x" * 5000,
}


@activity.defn
async def refund() -> None:
    """Never works."""
    raise ApplicationError("503 Service Unavailable")


@workflow.defn(name="Foreign")
class Foreign:
    """Answers each contract that it is given an answer for, by handlers made at run time; refunds in
    vain if told to."""

    @workflow.run
    async def run(self, answers: dict[str, Any], busy: bool) -> None:
        for name, answer in answers.items():
            workflow.set_query_handler(name, lambda answer=answer: answer)
        if busy:
            await workflow.execute_activity(
                refund,
                activity_id="refund",
                start_to_close_timeout=_SECONDS,
                retry_policy=RetryPolicy(initial_interval=_SECONDS, maximum_attempts=9),
            )
        await workflow.wait_condition(lambda: False)


@workflow.defn(name="Faulty")
class Faulty:
    """Its code raises, so that no workflow task of it succeeds."""

    @workflow.run
    async def run(self, value: Any) -> None:
        raise KeyError(value)


@workflow.defn(name="Silent")
class Silent:
    """Answers no contract, and ends with what it was given."""

    @workflow.run
    async def run(self, value: Any) -> Any:
        return value
