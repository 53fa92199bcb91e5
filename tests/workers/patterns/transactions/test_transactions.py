"""Transactions: all or nothing, once for each id, told in words when refused."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError
from django.db import OperationalError, connection
from pydantic import BaseModel
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.testing import ActivityEnvironment

from tests.examples import customers
from tests.examples.models import Customer
from tests.examples.transactions import MergeCustomers, Merger
from tests.golden import replayer
from workers.models import AppliedTransaction
from workers.patterns.transactions import operations
from workers.patterns.transactions.activities import TRIES, run_transaction
from workers.patterns.transactions.calls import Call, Transaction
from workers.patterns.transactions.operations import OperationError, operation
from workers.registry.queues import PLATFORM

pytestmark = pytest.mark.django_db(transaction=True)


class Nothing(BaseModel):
    pass


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], str]:
    """Register an operation for this test alone."""
    monkeypatch.setattr(operations, "OPERATIONS", dict(operations.OPERATIONS))

    def register(fn: Any) -> str:
        name = f"test.{uuid.uuid4().hex}"
        operation(name, Nothing)(fn)
        return name

    return register


def create(number: str, name: str = "Ada") -> Call:
    return Call(operation="customer.create", input={"number": number, "name": name})


def run(*calls: Call, transaction_id: str = "") -> list[Any]:
    asked = Transaction(transaction_id=transaction_id or uuid.uuid4().hex, calls=list(calls))
    answers: list[Any] = ActivityEnvironment().run(run_transaction, asked)
    return answers


def refused(*calls: Call, transaction_id: str = "") -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        run(*calls, transaction_id=transaction_id)
    assert caught.value.non_retryable
    return caught.value


def at_once(*attempts: Callable[[], Any]) -> list[Any]:
    """What each answers, run in a thread of its own, all beginning together."""
    ready, answers = threading.Barrier(len(attempts)), []

    def attempt(work: Callable[[], Any]) -> None:
        ready.wait(30)
        try:
            answers.append(work())
        finally:
            connection.close()

    threads = [threading.Thread(target=attempt, args=[work]) for work in attempts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def there() -> list[str]:
    return list(Customer.objects.order_by("number").values_list("number", flat=True))


def test_all_of_it_or_nothing() -> None:
    error = refused(create("C-1"), create("C-2"), Call(operation="customer.delete", input={"number": "C-9"}))
    assert (error.type, error.message) == ("UnknownCustomer", "There is no customer C-9.")
    assert (there(), AppliedTransaction.objects.count()) == ([], 0)
    assert run(create("C-1"), create("C-2"))[1] == {"number": "C-2", "name": "Ada"}
    assert there() == ["C-1", "C-2"]


def test_twice_under_one_id_happens_once_and_answers_alike() -> None:
    first = run(create("C-1"), transaction_id="t1")
    assert run(create("C-1"), transaction_id="t1") == first
    assert there() == ["C-1"]


def test_an_id_that_stands_for_another_input_is_refused() -> None:
    run(create("C-1"), transaction_id="t1")
    error = refused(create("C-1", "Bob"), transaction_id="t1")
    assert error.type == "TransactionReused"
    assert "t1 was applied with another input (customer.create)" in error.message
    assert Customer.objects.get().name == "Ada"


def test_an_unknown_operation_is_refused_with_the_known_ones() -> None:
    error = refused(create("C-1"), Call(operation="customer.destroy"))
    assert error.type == "UnknownOperation"
    assert "customer.destroy" in error.message
    assert "customer.create, customer.delete, customer.update" in error.message
    assert there() == []


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (create("seven"), "number"),
        (create("C-1", "x" * 81), "name"),
        (Call(operation="customer.create", input=["C-1"]), ""),
        (Call(operation="customer.create"), "number"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_by_field(call: Call, field: str) -> None:
    error = refused(call)
    assert error.type == "InvalidInput"
    assert field in error.details[0]
    assert "seven" not in error.message


@pytest.mark.parametrize(("transaction_id", "calls"), [("t" * 201, [create("C-1")]), ("t1", [])])
def test_a_transaction_needs_an_id_and_operations(transaction_id: str, calls: list[Call]) -> None:
    assert refused(*calls, transaction_id=transaction_id).type == "InvalidInput"


def test_what_a_constraint_forbids_is_told_without_the_customers_data() -> None:
    run(create("C-1"))
    error = refused(create("C-2"), create("C-1"))
    assert error.type == "ConstraintViolated"
    assert "C-1" not in str(error)
    assert error.__cause__ is None
    assert there() == ["C-1"]


def test_what_a_model_finds_invalid_is_told_by_field(named: Any) -> None:
    def full_clean(_: Nothing) -> None:
        raise ValidationError({"name": ["It is taken."], "__all__": ["So it is."]})

    error = refused(create("C-1"), Call(operation=named(full_clean)))
    assert error.details[0] == {"name": "It is taken.", "": "So it is."}
    assert there() == []


def test_an_answer_that_is_no_json_rolls_back(named: Any) -> None:
    assert refused(create("C-1"), Call(operation=named(lambda _: object()))).type == "ResultNotSerializable"
    assert there() == []
    assert run(Call(operation=named(lambda _: Decimal("1.50")))) == ["1.50"]


def test_a_conflict_is_tried_again_and_then_left_to_temporal(named: Any) -> None:
    tries: list[int] = []

    def conflicting(_: Nothing) -> int:
        tries.append(1)
        if len(tries) % TRIES:
            error = OperationalError("database table is locked" if len(tries) % 2 else "deadlock detected")
            raise error from (None if len(tries) % 2 else _Deadlock())
        return len(tries)

    def hopeless(_: Nothing) -> None:
        raise OperationalError("database is locked")

    assert run(create("C-1"), Call(operation=named(conflicting)))[1] == TRIES
    with pytest.raises(OperationalError):
        run(create("C-2"), Call(operation=named(hopeless)))
    with pytest.raises(OperationalError, match="gone"):
        run(create("C-2"), Call(operation=named(_away)))
    assert there() == ["C-1"]


class _Deadlock(Exception):
    sqlstate = "40P01"


def _away(_: Nothing) -> None:
    raise OperationalError("the server is gone")


def test_two_tries_at_once_apply_it_once(named: Any) -> None:
    runs: list[int] = []

    def counted(_: Nothing) -> int:
        runs.append(1)
        return len(runs)

    calls = [create("C-1"), Call(operation=named(counted))]
    answers = at_once(*[lambda: run(*calls, transaction_id="t1")] * 2)
    assert answers == [answers[0]] * 2
    assert (len(runs), there()) == (1, ["C-1"])


def test_two_that_lock_the_same_rows_in_opposite_orders_both_happen(named: Any) -> None:
    """A deadlock where rows are locked, one after the other where all of the database is."""
    run(create("C-1"), create("C-2"))
    nap = Call(operation=named(lambda _: time.sleep(0.05)))
    one, two = (Call(operation="customer.update", input={"number": n, "name": "Bob"}) for n in ("C-1", "C-2"))
    answers = at_once(lambda: run(one, nap, two), lambda: run(two, nap, one))
    assert sorted(answer[0]["number"] for answer in answers) == ["C-1", "C-2"]
    assert AppliedTransaction.objects.count() == 3


@pytest.mark.parametrize("name", ["", "n" * 201, "customer.create"])
def test_what_cannot_be_an_operation(name: str) -> None:
    with pytest.raises(OperationError):
        operation(name, Nothing)(lambda _: None)
    operation("customer.create", customers.Record)(customers.create)  # the same again changes nothing


def test_an_operation_is_a_plain_function() -> None:
    async def later(_: Nothing) -> None: ...

    with pytest.raises(OperationError, match="plain function"):
        operation("test.later", Nothing)(later)


async def test_a_workflow_commits_once_whatever_is_tried_again(
    client: Client, queue: str, worker: Any
) -> None:
    async def merge(kept: str, gone: str) -> Any:
        given = Merger(kept=kept, gone=gone, name="Ada Byron")
        return await client.start_workflow(
            MergeCustomers.run, given, id=f"merge-{uuid.uuid4().hex}", task_queue=queue
        )

    await sync_to_async(run)(create("C-1"), create("C-2"))
    async with worker(PLATFORM, activities=[run_transaction]), worker(queue, workflows=[MergeCustomers]):
        done, nobody = await merge("C-1", "C-2"), await merge("C-1", "C-9")
        assert await done.result() == "C-1 is Ada Byron now."
        with pytest.raises(WorkflowFailureError) as caught:
            await nobody.result()
        await replayer(client, [MergeCustomers]).replay_workflow(await done.fetch_history())
    assert isinstance(caught.value.cause, ActivityError)
    assert str(caught.value.cause.cause) == "UnknownCustomer: There is no customer C-9."
    assert await sync_to_async(there)() == ["C-1"]
    applied = await AppliedTransaction.objects.filter(transaction_id__endswith="/merge").aget()
    assert applied.transaction_id == f"{done.first_execution_run_id}/merge"
    assert applied.operation == "customer.update, customer.delete"
