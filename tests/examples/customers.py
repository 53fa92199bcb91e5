"""What may be done to a customer's record: operations of which transactions are made."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from temporalio.exceptions import ApplicationError

from tests.examples.models import Customer
from workers.patterns.transactions.operations import operation


class Record(BaseModel):
    number: str = Field(pattern=r"^C-\d{1,10}$")
    name: str = Field("", max_length=80)


@operation("customer.create", Record)
def create(record: Record) -> Record:
    Customer.objects.create(**record.model_dump())
    return record


@operation("customer.update", Record)
def update(record: Record) -> Record:
    if not Customer.objects.filter(number=record.number).update(name=record.name):
        raise _unknown(record)
    return record


@operation("customer.delete", Record)
def delete(record: Record) -> dict[str, Any]:
    deleted, _ = Customer.objects.filter(number=record.number).delete()
    if not deleted:
        raise _unknown(record)
    return {"number": record.number}


def _unknown(record: Record) -> ApplicationError:
    return ApplicationError(
        f"There is no customer {record.number}.", type="UnknownCustomer", non_retryable=True
    )
