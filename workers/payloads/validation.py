"""What is wrong with an input, field by field; and inputs that never fit end, not tried for ever.

The SDK decodes arguments before any interceptor sees them. Of a workflow it then retries the task for ever;
of an activity it fails the attempt, and tries the same bytes again. Both become a non-retryable
`InvalidInput` here, whose details are field -> sentence. Only the verdict of a type (a pydantic
ValidationError) or a wrong number of arguments counts as that: a missing key or an unknown encoding is the
worker's fault, not the input's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError
from temporalio.exceptions import ApplicationError

INVALID_INPUT = "InvalidInput"
MOST_ERRORS = 50


def fields_of(errors: Sequence[Any]) -> dict[str, str]:
    """Errors of pydantic as field -> sentence, at most MOST_ERRORS. What was sent is never repeated."""
    found: dict[str, str] = {}
    for error in errors[:MOST_ERRORS]:
        found.setdefault(".".join(str(part)[:60] for part in error["loc"]), str(error["msg"]))
    return found


def invalid_input(what: str, fields: dict[str, str]) -> ApplicationError:
    """`what` is the workflow or activity that does not get what it needs."""
    problems = "; ".join(f"{field or 'the input'}: {why}" for field, why in list(fields.items())[:5])
    return ApplicationError(
        f"{what} was given an invalid input: {problems}", fields, type=INVALID_INPUT, non_retryable=True
    )


def verdict_of(error: BaseException | None) -> ValidationError | None:
    """The verdict of a type in a chain of causes, if that is what went wrong."""
    while error is not None and not isinstance(error, ValidationError):
        error = error.__cause__
    return error


def explained(error: ValidationError, what: str) -> ApplicationError:
    """Without the error itself as cause, as its text repeats the input."""
    return invalid_input(
        what, fields_of(error.errors(include_url=False, include_input=False, include_context=False))
    )


def miscounted(fn: Callable[..., Any], given: int, *, skip: int = 0) -> dict[str, str]:
    """Field -> sentence when `fn` cannot be called with so many arguments, `skip` first ones (self) not
    counted; else empty."""
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):  # some builtins have none
        return {}
    try:
        signature.bind(*range(skip + given))
    except TypeError as error:
        return {"": f"{error} ({given} given)"}
    return {}
