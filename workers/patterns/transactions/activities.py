"""One database transaction as an activity: all its operations or none, once for each transaction id.

The record that a transaction was applied is written first, in the same transaction: a second try that runs
at the same time waits for it, and a crash at any line leaves both or neither.
"""

from __future__ import annotations

import logging
import random
import time
from typing import Any

from django.core.exceptions import ValidationError as FieldErrors
from django.db import DatabaseError, DataError, IntegrityError, OperationalError, transaction
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python
from temporalio import activity
from temporalio.exceptions import ApplicationError

from workers.client.digest import digest
from workers.patterns.transactions import operations
from workers.patterns.transactions.calls import LONGEST_NAME, RUN_TRANSACTION, Call, Transaction
from workers.payloads.validation import explained, invalid_input

logger = logging.getLogger(__name__)

UNKNOWN_OPERATION = "UnknownOperation"
TRANSACTION_REUSED = "TransactionReused"
CONSTRAINT_VIOLATED = "ConstraintViolated"
UNPRINTABLE_ANSWER = "ResultNotSerializable"
TRIES = 5  # of a conflict, in this process; then Temporal tries again, with longer waits
CONFLICTS = {"40001", "40P01"}  # SQLSTATE: serialization_failure, deadlock_detected


@activity.defn(name=RUN_TRANSACTION, no_thread_cancel_exception=True)
def run_transaction(transaction_input: Transaction) -> list[Any]:
    """What each operation answered, as JSON; the same answers when it was applied before.

    Non-retryable refusals, after which nothing has changed: UnknownOperation, InvalidInput,
    TransactionReused (the id stands for another input), ConstraintViolated, and any ApplicationError that an
    operation raises so. Conflicts with other transactions are tried again, and so is a database that is away.
    """
    steps = _checked(transaction_input)
    for failed_before in range(TRIES):
        try:
            return _apply(transaction_input, steps)
        except (IntegrityError, DataError) as error:
            raise _violated(transaction_input, error) from None
        except OperationalError as error:
            if failed_before + 1 == TRIES or not _is_conflict(error):
                raise
            time.sleep(random.uniform(0.01, 0.05) * 2**failed_before)  # noqa: S311 - a jitter, no secret
    raise AssertionError("unreachable")  # pragma: no cover


@transaction.atomic(durable=True)
def _apply(transaction_input: Transaction, steps: list[tuple[operations.Operation, BaseModel]]) -> list[Any]:
    """Apply the operations, or find what they answered when they were applied before."""
    from workers.models import AppliedTransaction  # models exist only once Django is set up

    # of what was sent, not of what a model made of it: a later build may fill in other defaults
    fingerprint = digest([[call.operation, call.input] for call in transaction_input.calls])
    named = ", ".join(step.name for step, _ in steps)[:LONGEST_NAME]
    record, is_new = AppliedTransaction.objects.get_or_create(
        transaction_id=transaction_input.transaction_id,
        defaults={"operation": named, "digest": fingerprint},
    )
    if is_new:
        record.result = [_answer(step, given) for step, given in steps]
        record.save(update_fields=["result"])
    elif record.digest != fingerprint:
        raise ApplicationError(
            f"Transaction {record.transaction_id} was applied with another input ({record.operation}); "
            "nothing was changed.",
            type=TRANSACTION_REUSED,
            non_retryable=True,
        )
    return list(record.result or [])


def _answer(step: operations.Operation, given: BaseModel) -> Any:
    try:
        answer = step.run(given)
    except FieldErrors as error:
        raise invalid_input(step.name, _sentences(error)) from None
    try:
        return to_jsonable_python(answer, inf_nan_mode="strings")
    except PydanticSerializationError as error:
        message = f"Operation {step.name} answered what is no JSON: {type(answer).__name__}."
        raise ApplicationError(message, type=UNPRINTABLE_ANSWER, non_retryable=True) from error


def _checked(transaction_input: Transaction) -> list[tuple[operations.Operation, BaseModel]]:
    """Every operation with its input, checked before anything begins."""
    if not 0 < len(transaction_input.transaction_id) <= LONGEST_NAME:
        raise invalid_input("A transaction", {"transaction_id": f"1 to {LONGEST_NAME} characters"})
    if not transaction_input.calls:
        raise invalid_input("A transaction", {"calls": "none are given"})
    return [_found(call) for call in transaction_input.calls]


def _found(call: Call) -> tuple[operations.Operation, BaseModel]:
    step = operations.OPERATIONS.get(call.operation)
    if step is None:
        known = ", ".join(sorted(operations.OPERATIONS)) or "none"
        message = f"No such operation: {call.operation}. Registered: {known}."
        raise ApplicationError(message, type=UNKNOWN_OPERATION, non_retryable=True)
    try:
        return step, step.model.model_validate({} if call.input is None else call.input)
    except ValidationError as error:
        raise explained(error, step.name) from None


def _is_conflict(error: DatabaseError) -> bool:
    """Another transaction was in the way. SQLite has no code for it in Django's error."""
    state = getattr(error.__cause__, "sqlstate", None)
    return state in CONFLICTS or "locked" in str(error)


def _violated(transaction_input: Transaction, error: DatabaseError) -> ApplicationError:
    """The database's own words may repeat a customer's data, so they stay in the log."""
    logger.warning("Transaction %s violates a constraint: %s", transaction_input.transaction_id, error)
    named = ", ".join(call.operation for call in transaction_input.calls)
    message = f"{named}: a constraint of the database forbids it. Nothing was changed."
    return ApplicationError(message, type=CONSTRAINT_VIOLATED, non_retryable=True)


def _sentences(error: FieldErrors) -> dict[str, str]:
    fields = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    return {"" if name == "__all__" else name: " ".join(messages) for name, messages in fields.items()}
