"""CircuitBreakerWorkflow: one operation, tried until it works, behind a breaker of its own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, CancelledError

from tests.examples import circuit as example
from tests.golden import replays
from tests.support import eventually
from tests.workers.patterns.breaker.guarded_services import act, circuit, fails, reaches
from workers.client.attributes import CIRCUIT_STATE
from workers.client.launch import launch
from workers.contracts import Status
from workers.patterns.breaker.names import QUEUE as BREAKERS
from workers.patterns.breaker.names import UNAVAILABLE, WORKFLOW_TYPE, breaker_id
from workers.patterns.breaker.plugin import breakers
from workers.patterns.dynamic.activities import UNKNOWN_ACTIVITY
from workers.patterns.single_operation.workflow import (
    CANCELLED,
    OPENED_TOO_OFTEN,
    CircuitBreakerWorkflow,
    CircuitOperation,
)
from workers.registry.queues import PLATFORM
from workers.testing.swap import swapped

pytestmark = pytest.mark.django_db(transaction=True)


class Bank:
    """Fails as often as it is told; -1: always."""

    def __init__(self) -> None:
        self.calls = 0
        self.failures = -1
        self.refuses = False

    def activity(self) -> Any:
        @activity.defn(name="fetch_statement", no_thread_cancel_exception=True)
        def fetch_statement(account: str) -> str:
            self.calls += 1
            if self.refuses:
                raise ApplicationError("No such account.", 7, type="NoAccount", non_retryable=True)
            if self.calls <= self.failures or self.failures < 0:
                raise ApplicationError("The bank is closed.", type=UNAVAILABLE)
            return f"{account}: 42.00 EUR"

        return fetch_statement


@pytest.fixture
async def bank(worker: Any) -> AsyncIterator[Bank]:
    made = Bank()
    with swapped("fetch_statement", made.activity()):
        async with worker(PLATFORM):
            yield made


async def started(client: Client, **more: Any) -> WorkflowHandle[Any, Any]:
    given = {"threshold": 3, "open_seconds": 600, "pause_seconds": 0.02, "try_seconds": 20, **more}
    operation = CircuitOperation(activity="fetch_statement", input="EUR-1", **given)
    name = f"statement-{uuid.uuid4().hex[:8]}"
    return await launch(CircuitBreakerWorkflow, operation, id=name, client=client)


async def failure(handle: WorkflowHandle[Any, Any]) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ApplicationError), caught.value.cause
    return caught.value.cause


def test_the_defaults_are_the_classic_ones() -> None:
    config = CircuitOperation(activity="x")
    assert (config.threshold, config.open_seconds, config.open_growth) == (5, 300, 1)


async def test_it_waits_out_an_outage_and_ends_with_the_result(client: Client, bank: Bank) -> None:
    bank.failures = 4  # three open it, the first probe fails, the second is the answer
    handle = await started(client, open_seconds=0.3)
    assert await handle.result() == "EUR-1: 42.00 EUR"
    status = await circuit(handle)
    moves = [move.state for move in status.transitions]
    assert moves == ["OPEN", "HALF_OPEN", "OPEN", "HALF_OPEN", "CLOSED"]
    assert (bank.calls, status.calls, status.failures) == (5, 5, 4)
    shown = (await handle.describe()).typed_search_attributes.get(CIRCUIT_STATE)
    assert shown == "CLOSED"
    await replays(client, handle, "circuit-breaker", [CircuitBreakerWorkflow])


async def test_while_open_it_says_so_and_calls_nothing(client: Client, bank: Bank) -> None:
    handle = await started(client)
    status = await reaches(handle, "OPEN")
    assert (bank.calls, status.failure_count, status.last_error) == (
        3,
        3,
        f"{UNAVAILABLE}: The bank is closed.",
    )
    assert status.next_probe_at
    header = await handle.query("get_status", result_type=Status)
    assert "until a probe" in header.summary
    bank.failures = 3
    assert (await act(handle, "probe")).outcome == "applied"
    assert await handle.result() == "EUR-1: 42.00 EUR"
    assert bank.calls == 4


async def test_it_gives_up_after_so_many_openings(client: Client, bank: Bank) -> None:
    error = await failure(await started(client, threshold=2, open_seconds=0.05, max_openings=2))
    assert (error.type, bank.calls) == (OPENED_TOO_OFTEN, 3)
    assert "opened its breaker 2 times in 3 tries" in error.message
    assert "The bank is closed." in error.message


async def test_a_refusal_is_an_answer(client: Client, bank: Bank) -> None:
    bank.refuses = True
    error = await failure(await started(client))
    assert (error.type, error.message, error.details, bank.calls) == (
        "NoAccount",
        "No such account.",
        (7,),
        1,
    )


async def test_an_unknown_operation_fails_at_once(client: Client, bank: Bank) -> None:
    operation = CircuitOperation(activity="fetch_nothing")
    name = f"statement-{uuid.uuid4().hex[:8]}"
    error = await failure(await launch(CircuitBreakerWorkflow, operation, id=name, client=client))
    assert (error.type, "fetch_nothing" in error.message) == (UNKNOWN_ACTIVITY, True)


async def test_people_force_it_as_they_force_the_shared_one(client: Client, bank: Bank) -> None:
    handle = await started(client, threshold=1)
    await reaches(handle, "OPEN")
    until = datetime.now(UTC) + timedelta(hours=2)
    assert (await act(handle, "force_close", until=until)).outcome == "applied"
    await eventually(lambda: bank.calls > 3)
    status = await circuit(handle)
    assert status.forced
    assert status.state == "CLOSED", "it goes on trying, whatever fails"
    assert (await act(handle, "force_open", until=until)).outcome == "applied"
    await reaches(handle, "OPEN")
    bank.failures = 0
    assert (await act(handle, "release")).outcome == "applied"
    assert await handle.result() == "EUR-1: 42.00 EUR"


async def test_a_cancelled_operation_is_tried_no_more(client: Client, bank: Bank) -> None:
    handle = await started(client)
    await reaches(handle, "OPEN")
    told = await act(handle, "cancel")
    assert (told.outcome, told.detail) == ("applied", "It is not tried again.")
    error = await failure(handle)
    assert (error.type, error.message, bank.calls) == (CANCELLED, "Cancelled by ann: They said so.", 3)


async def test_a_native_cancellation_ends_it_as_cancelled(client: Client, bank: Bank) -> None:
    handle = await started(client)
    await reaches(handle, "OPEN")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)


async def test_the_examples_of_the_page(client: Client, worker: Any) -> None:
    """A quote is held while the rates are away, and a statement needs one line."""
    example.AWAY.add("rates")
    config = breakers.configs["rates"]
    async with worker(PLATFORM, BREAKERS):
        shared = await client.start_workflow(
            WORKFLOW_TYPE,
            config,
            id=breaker_id("rates"),
            task_queue=BREAKERS,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        await fails(shared)
        await reaches(shared, "OPEN")
        name = f"quote-{uuid.uuid4().hex[:8]}"
        quote = await launch(example.QuoteWorkflow, "USD", id=name, client=client)

        async def held() -> bool:
            known = (await quote.describe()).typed_search_attributes
            return any(pair.value == ["breaker", "breaker:rates"] for pair in known)

        await eventually(held)
        account = uuid.uuid4().hex[:8]
        assert await example.order_statement(account) == f"{account}: 42.00 EUR"
        example.AWAY.clear()
        assert (await act(shared, "probe", workflow_id=quote.id)).outcome == "applied"
        assert await quote.result() == "1 EUR is 1.08 USD."
        await shared.terminate()
