"""The argument of CircuitBreakerWorkflow; what is not a setting is carried on by continue-as-new."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from workers.patterns.breaker.messages import MachineInput
from workers.patterns.dynamic.messages import Resolved


class CircuitOperation(MachineInput):
    """The argument of CircuitBreakerWorkflow.

    activity, input: the registered activity to run, by name, and its argument as plain JSON.
    try_seconds: start-to-close time-out of a try.
    pause_seconds: between tries while CLOSED; doubled by each failure in a row, up to a minute.
    max_openings: after so many openings it fails with OperationUnavailable.
    """

    dependency: str = Field("operation", pattern=r"^[a-z0-9_-]{1,60}$")
    activity: str = ""
    input: Any = None
    try_seconds: float = Field(30, gt=0)
    pause_seconds: float = Field(1, gt=0)
    max_openings: int = Field(10, ge=1)
    tries: int = 0
    openings: int = 0
    resolved: Resolved | None = None
