"""Named operations on the database: what a transaction may consist of.

An app decorates functions with `@operation("customer.create", NewCustomer)` and imports the module in its
`temporal.py`. They are plain functions that use the ORM inside a transaction, and answer JSON or a model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from workers.patterns.transactions.calls import LONGEST_NAME

M = TypeVar("M", bound=BaseModel)
F = Callable[[M], Any]


class OperationError(Exception):
    """A function that cannot be an operation, or a name that is taken."""


@dataclass(frozen=True)
class Operation:
    """A registered function with the model of its one argument."""

    name: str
    model: type[BaseModel]
    run: Callable[[Any], Any]

    @property
    def place(self) -> str:
        return f"{self.run.__module__}.{self.run.__qualname__}"


OPERATIONS: dict[str, Operation] = {}
"""All registered operations by their names."""


def operation(name: str, model: type[M]) -> Callable[[F[M]], F[M]]:
    """Register a function as the operation `name`, with `model` for its argument. Raises OperationError."""

    def register(fn: F[M]) -> F[M]:
        if not 0 < len(name) <= LONGEST_NAME:
            raise OperationError(f"The name of an operation has 1 to {LONGEST_NAME} characters: {name!r}.")
        if inspect.iscoroutinefunction(fn):
            why = "transactions belong to a thread"
            raise OperationError(f"Operation {name} must be a plain function: {why}.")
        made = Operation(name, model, fn)
        known = OPERATIONS.get(name, made)
        if known.place != made.place:
            raise OperationError(f"Operation {name} is {known.place} already, not {made.place}.")
        OPERATIONS[name] = made
        return fn

    return register
