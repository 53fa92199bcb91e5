"""The audit of runs: what is recorded of their start and end, and by which activity."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel

RECORD = "audit.record"
"""The activity that keeps a Lifecycle; writing the same event of the same run again changes nothing."""
LIFECYCLE_HEADER = "signalbox-run-audit"
"""The start header of runs that record their end. Its prefix: it is the run's, not its children's."""


class Event(StrEnum):
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    TIMED_OUT = "timed_out"


class Lifecycle(BaseModel):
    """One event of a chain of runs, which `run_id`, that of the first, stands for. `detail`: why it ended."""

    event: Event
    workflow_id: str
    run_id: str
    workflow_type: str = ""
    tenant: str = ""
    detail: str = ""
    at: datetime | None = None
