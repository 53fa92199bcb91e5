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


_operations: dict[str, Operation] = {}


def operation(name: str, model: type[M]) -> Callable[[F[M]], F[M]]:
    """Register a function as the operation `name`, with `model` for its argument. Raises OperationError."""

    def register(fn: F[M]) -> F[M]:
        if not name or len(name) > LONGEST_NAME:
            raise OperationError(f"The name of an operation has 1 to {LONGEST_NAME} characters: {name!r}.")
        if inspect.iscoroutinefunction(fn):
            raise OperationError(
                f"Operation {name} must be a plain function: transactions belong to a thread."
            )
        known = _operations.get(name)
        if known is not None and (known.run.__module__, known.run.__qualname__) != (
            fn.__module__,
            fn.__qualname__,
        ):
            other = f"{known.run.__module__}.{known.run.__qualname__}"
            raise OperationError(
                f"Operation {name} is {other} already, not {fn.__module__}.{fn.__qualname__}."
            )
        _operations[name] = Operation(name, model, fn)
        return fn

    return register


def find(name: str) -> Operation | None:
    return _operations.get(name)


def names() -> list[str]:
    """All registered names, sorted."""
    return sorted(_operations)
