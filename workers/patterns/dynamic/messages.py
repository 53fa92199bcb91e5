"""The input of DynamicWorkflow, and what the activities that resolve names take and return."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

ATTEMPTS = 5
TIMEOUT_SECONDS = 60.0


class DynamicInput(BaseModel):
    """Which activity, and its one argument as plain JSON (ignored when it takes none).

    `attempts` in all, of `timeout_seconds` each.
    """

    activity_name: str
    input: Any = None
    attempts: int = Field(ATTEMPTS, ge=1)
    timeout_seconds: float = Field(TIMEOUT_SECONDS, gt=0)


class Names(BaseModel):
    """Activities or flags, by the names that a run needs."""

    names: list[str]


class Resolved(BaseModel):
    """The activity to call, the queue whose workers run it, and whether it takes an argument."""

    name: str
    queue: str
    takes_input: bool = True

    def arguments(self, value: Any) -> list[Any]:
        """`value` as the arguments of a call; none for an activity that takes none."""
        return [value] if self.takes_input else []
