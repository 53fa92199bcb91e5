"""What a long process takes, carries on, returns, and exchanges with the activities that it calls by name."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from workers.patterns.batches.progress import FailedItem, PauseControl, ProgressState
from workers.patterns.decisions import DecisionLog
from workers.patterns.dynamic.messages import Resolved

MAX_INLINE = 1_000  # items in the argument itself, which every run of the chain carries


class Carried(PauseControl):
    """What continue-as-new carries on.

    targets: by the name in the input. notified_failures: how many failed items notices have named.
    fruitless_attempts: attempts of the batch that is next, in a row, that did nothing.
    """

    progress: ProgressState
    decisions: DecisionLog | None = None
    targets: dict[str, Resolved] = Field(default_factory=dict)
    notified_failures: int = 0
    fruitless_attempts: int = 0


class LongRunningInput(BaseModel):
    """The argument of LongRunningWorkflow.

    activity: the batch activity (see `batch_activity`).
    items, total, pages: where the items come from, one of three: `items`, a short list; `total` alone, so
        that item n is the number n; or `total` with `pages`, an activity that reads the items of a PageQuery
        out of whatever `reference` names.
    first: index to begin at.
    key: prefix of the items' idempotency keys, default the first run id of the chain; give the same one to a
        process that is started again, or items are done twice.
    failure_limit: the share of failed items, 0 to 1, above which a checkpoint stops it.
    notify: an activity that gets a Notice at the end, and at each quarter or checkpoint (`notify_at`).
    batch_seconds: one attempt of a batch. heartbeat_seconds: how long a silent worker is believed alive.
    batch_attempts: in a row that do nothing, until the items of that batch have failed; 0: no limit.
    retry_seconds: the first wait at an open breaker, and in an outage.
    most_events: length of history at which it continues as new, if Temporal does not suggest it before.
    """

    activity: str = Field(min_length=1)
    items: list[Any] = Field(default_factory=list, max_length=MAX_INLINE)
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
    """Its result. Fewer items than requested: there are no more."""

    items: list[Any] = Field(default_factory=list)


class Notice(BaseModel):
    """The argument of a `notify` activity.

    key: the same in every try. failures: since the last notice.
    event: checkpoint, quarter, completed, cancelled or failed.
    """

    key: str
    workflow_id: str
    event: str
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
