"""The shared breaker: names, the mark on an activity, and the refusal. See docs/patterns/breaker.md.

One state machine for all processes that call a dependency (machine.py), kept by the breaker workflow
(workflow.py) and queried by the activity interceptor (interceptor.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from workers.contracts import CIRCUIT_OPEN

QUEUE = "breaker-queue"
WORKFLOW_TYPE = "BreakerWorkflow"
LEASE_HEADER = "signalbox-lease"
KEY_HEADER = "signalbox-idempotency-key"
UNAVAILABLE = "DependencyUnavailable"
NEEDS_KEY, NOT_ALLOWED = "HttpNeedsIdempotencyKey", "HttpNotAllowed"
"""Types of ApplicationErrors by which a call is refused on this side: its dependency was not called."""

F = TypeVar("F", bound=Callable[..., Any])

Dependency = str | Callable[..., str]
"""A dependency's name, or what finds it in the activity's arguments ("": this call is not guarded)."""

current_lease: ContextVar[str] = ContextVar("signalbox_lease", default="")
"""Set by workflow code around the activity that is the probe; the outbound interceptor makes it a header."""

current_key: ContextVar[str] = ContextVar("signalbox_idempotency_key", default="")
"""The idempotency key of a guarded call. Set by workflow code around each of its tries; a header carries it
to the worker, and the activity finds it here. "": the activity was not called through GuardedCalls."""


def breaker_id(dependency: str) -> str:
    """The workflow id of a dependency's breaker."""
    return f"breaker-{dependency}"


def guarded(
    dependency: Dependency, *, failures: tuple[type[BaseException], ...] | None = None
) -> Callable[[F], F]:
    """Put an activity behind the breaker of `dependency`. Never put a compensation behind one.

    failures: the exceptions that count as failures of the dependency, in place of those of failures.py.
        An ApplicationError of type DependencyUnavailable, and a time-out of the activity, always do.
    """

    def mark(fn: F) -> F:
        fn.__signalbox_dependency__ = dependency  # type: ignore[attr-defined]
        fn.__signalbox_failures__ = failures  # type: ignore[attr-defined]
        return fn

    return mark


def dependency_of(fn: Callable[..., Any], args: Sequence[Any] = ()) -> str:
    """The dependency that this call of an activity is guarded for, or ""."""
    known: Dependency = getattr(fn, "__signalbox_dependency__", "")
    return known if isinstance(known, str) else known(*args)


def declared_dependency(fn: Callable[..., Any]) -> str | None:
    """The one dependency of all its calls, "" when it is not guarded, None when each call names its own."""
    known: Dependency = getattr(fn, "__signalbox_dependency__", "")
    return known if isinstance(known, str) else None


def failures_of(fn: Callable[..., Any]) -> tuple[type[BaseException], ...] | None:
    """The exceptions that `guarded` was given as failures, or None."""
    known: tuple[type[BaseException], ...] | None = getattr(fn, "__signalbox_failures__", None)
    return known


def circuit_open(dependency: str, never_sent: bool, retry_after: timedelta | None = None) -> ApplicationError:
    """The refusal of a call.

    never_sent: no attempt of its activity was ever let through, so nothing can have happened.
    retry_after: None: not retryable, as its workflow waits for `resume` (GuardedCalls). Otherwise the server
        retries the activity after that time, by its own retry policy.
    """
    return ApplicationError(
        f"The breaker of {dependency} is open.",
        dependency,
        never_sent,
        type=CIRCUIT_OPEN,
        non_retryable=retry_after is None,
        next_retry_delay=retry_after,
        category=ApplicationErrorCategory.BENIGN,  # the breaker at work: nothing for the worker's log
    )
