"""What a long process is told, tells, and asks of the activities that it calls by name."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from workers.patterns.batches.progress import FailedItem, ProgressState
from workers.patterns.decisions import DecisionLog
from workers.patterns.dynamic.resolve import Resolved

MOST_INLINE = 1_000  # items in the argument itself, which every run of the chain carries


class Carried(BaseModel):
    """What continue-as-new carries on. `paused_by` and `cancelled_by`: who, or None. `told`: failed items
    that a notice has named."""

    book: ProgressState
    decisions: DecisionLog
    targets: dict[str, Resolved] | None = None
    paused_by: str | None = None
    cancelled_by: str | None = None
    told: int = 0


class LongRunningInput(BaseModel):
    """`activity`: the batch activity (see `batch_activity`). The items are one of three: `items`, a short
    list; `total` alone, so that item n is the number n; or `total` with `pages`, an activity that reads the
    items of a PageQuery out of whatever `reference` names.

    `first`: begin there. `key`: prefix of the items' idempotency keys, default the first run id of the chain;
    give the same one to a process that is started again, or items are done twice. `failure_limit`: the share
    of failed items, 0 to 1, above which a checkpoint stops it. `notify`: an activity that gets a Notice at
    the end and at each quarter or checkpoint. `batch_seconds`: one try of a batch; `batch_attempts` 0: no
    limit. `heartbeat_seconds`: how long a silent worker is believed alive. `retry_seconds`: the first wait at
    an open breaker, and the pause after `batch_attempts` tries in an outage.
    """

    activity: str = Field(min_length=1)
    items: list[Any] = Field(default_factory=list, max_length=MOST_INLINE)
    total: int = Field(0, ge=0)
    pages: str = ""
    reference: str = ""
    first: int = Field(0, ge=0)
    key: str = ""
    batch_size: int = Field(10, ge=1, le=1_000)
    checkpoint_every: int = Field(50, ge=1, le=10_000)
    failure_limit: float = Field(0.5, ge=0, le=1)
    notify: str = ""
    notify_at: Literal["quarters", "checkpoints"] = "quarters"
    batch_seconds: float = Field(300, gt=0)
    heartbeat_seconds: float = Field(10, gt=0)
    batch_attempts: int = Field(10, ge=0)
    retry_seconds: float = Field(30, gt=0)
    most_events: int = Field(4_000, ge=50)
    carried: Carried | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.items and (self.total or self.pages):
            raise ValueError("Give items, or total with or without pages, not both.")
        if self.pages and not self.total:
            raise ValueError("pages need a total.")
        return self


class PageQuery(BaseModel):
    """The argument of a `pages` activity: read `limit` items of `reference` from index `first` on."""

    reference: str = ""
    first: int = 0
    limit: int = 0


class Page(BaseModel):
    """Its result. Fewer items than asked for: there are no more."""

    items: list[Any] = Field(default_factory=list)


class Notice(BaseModel):
    """The argument of a `notify` activity. `key`: the same in every try. `failures`: since the last one."""

    key: str
    workflow_id: str
    event: str
    """checkpoint, quarter, completed, cancelled or failed"""
    total: int = 0
    done: int = 0
    failed: int = 0
    failures: list[FailedItem] = Field(default_factory=list)


class LongRunningResult(BaseModel):
    """`outcome`: completed or cancelled. `failed_items`: the first hundred."""

    outcome: str
    total: int
    done: int
    failed: int
    failed_items: list[FailedItem] = Field(default_factory=list)
