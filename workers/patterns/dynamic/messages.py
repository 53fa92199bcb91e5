"""The input of DynamicWorkflow."""

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
