"""Answers about sagas and breakers, about progress, and the header of every run."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field, field_validator

from workers.contracts.base import Contract, Money
from workers.contracts.words import CircuitState, SagaState, StepState


class CompensationStatus(Contract):
    name: str = ""
    activity_id: str = ""
    status: str = StepState.PENDING
    error: str | None = None


class StepStatus(Contract):
    """`group`: steps with the same one ran side by side. `child_workflow_id`: the step was a nested saga."""

    name: str = ""
    activity_id: str = ""
    status: str = StepState.PENDING
    amount: Money | None = None
    idempotency_key: str = ""
    point_of_no_return: bool = False
    group: str = ""
    child_workflow_id: str = ""
    error: str | None = None
    compensation: CompensationStatus | None = None


class SagaStatus(Contract):
    """Answer of `get_saga_status`. Attempts and times are not here: workflow code cannot see them, so the
    console joins them from describe and history by activity_id. `exposure`: a sum for each currency of what
    is, or may be, in effect and not undone."""

    state: str = SagaState.RUNNING
    steps: list[StepStatus] = Field(default_factory=list)
    exposure: list[Money] = Field(default_factory=list)


class Forced(Contract):
    """A person holds the breaker OPEN or CLOSED, whatever the calls say, until `until`."""

    state: str = ""
    by: str = ""
    reason: str = ""
    until: datetime | None = None


class Transition(Contract):
    at: datetime | None = None
    state: str = ""
    why: str = ""


class CircuitStatus(Contract):
    """Answer of `get_circuit_status`. `failure_count` counts failures in a row; it opens at `threshold`, or
    when of at least `minimum_calls` calls within `window_seconds` the share `failure_rate` (0 to 1) failed
    (0: the rate does not open it). `opened_times`: openings in a row, each longer than the last.
    `processes`: how many reported within a minute. `probe_claimable`: HALF_OPEN, and the next call may be
    the probe."""

    state: str = CircuitState.CLOSED
    failure_count: int = 0
    threshold: int = 0
    last_failure_time: datetime | None = None
    dependency: str = ""
    epoch: int = 0
    opened_at: datetime | None = None
    next_probe_at: datetime | None = None
    open_seconds: float = 0
    probe_holder: str | None = None
    probe_lease: str | None = None
    probe_claimable: bool = False
    forced: Forced | None = None
    last_error: str | None = None
    calls: int = 0
    failures: int = 0
    failure_rate: float = 0
    minimum_calls: int = 0
    window_seconds: float = 0
    opened_times: int = 0
    processes: int = 0
    transitions: list[Transition] = Field(default_factory=list)


class Progress(Contract):
    """Answer of `get_progress`. `failed_items` is capped by the workflow."""

    total: int = 0
    done: int = 0
    failed: int = 0
    started_at: datetime | None = None
    failed_items: list[Any] = Field(default_factory=list)
    paused: bool = False


class Status(Contract):
    """Answer of `get_status`: the header. `waiting_for`: as the search attribute WaitingFor; `summary`: one
    sentence on what happens next."""

    status: str = ""
    stage: str = ""
    updated_at: datetime | None = None
    waiting_for: list[str] = Field(default_factory=list)
    summary: str = ""

    @field_validator("waiting_for", mode="before")
    @classmethod
    def _one_or_none(cls, value: Any) -> Any:
        """A single value, or null, as workflows of others may answer."""
        return [value] if isinstance(value, str) else [] if value is None else value
