"""LongRunningWorkflow: very many items, in batches, for hours or days, watched, paused, carried on."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from workers.client.attributes import STAGE, WAITING_FOR
    from workers.contracts import Progress, Signal, Status, Verdict
    from workers.patterns.batches.batches import Batch
    from workers.patterns.batches.calls import Calls
    from workers.patterns.batches.controls import Desk
    from workers.patterns.batches.messages import Carried, LongRunningInput, LongRunningResult, Notice
    from workers.patterns.batches.progress import ProgressState
    from workers.patterns.decisions import NO_BODY, DecisionLog, lenient_signal
    from workers.patterns.dynamic.switches import activities_of_run
    from workers.patterns.guarded_calls import GuardedCalls
    from workers.patterns.search_attributes import upsert_changed

TOO_MANY_FAILURES = "TooManyFailures"


@workflow.defn(name="LongRunningWorkflow")
class LongRunningWorkflow:
    """Batch by batch; after each it looks whether to pause, stop, tell somebody, or go on in a new run."""

    @workflow.init
    def __init__(self, start: LongRunningInput) -> None:
        self._start = start
        total = len(start.items) or start.total
        first = min(start.first, total)
        fresh = ProgressState(total=total, first=first, checkpoint=first, started_at=workflow.now())
        carried = start.carried or Carried(book=fresh, decisions=DecisionLog())
        self._carried = carried
        self._book = carried.book
        self._desk = Desk(carried.decisions, carried.paused_by, carried.cancelled_by)
        self._holds = GuardedCalls(start.retry_seconds, self._mark)
        self._told = carried.told
        self._updated_at = workflow.now()

    @workflow.run
    async def run(self, start: LongRunningInput) -> LongRunningResult:
        self._mark()
        targets = self._carried.targets
        if targets is None:
            targets = await activities_of_run(start.activity, start.pages, start.notify)
            self._carried = self._carried.model_copy(update={"targets": targets})
        calls = Calls(start, targets, self._holds, lambda: self._desk.cancelled)
        while not self._book.over and not self._desk.cancelled:
            if self._desk.paused:
                await self._pause()
            elif self._full():
                await self._renew()
            else:
                await self._turn(calls)
        return await self._end(calls)

    async def _turn(self, calls: Calls) -> None:
        book, start = self._book, self._start
        indices = book.next_batch(start.batch_size, start.checkpoint_every)
        items = await calls.items(indices, book.total)
        if items is None:
            return
        if not items:
            book.end_at_position()
            return
        key = start.key or workflow.info().first_execution_run_id
        answer = await calls.run(Batch(key=key, first=indices.start, items=items))
        if answer is None:
            return
        errors = {result.index: result.error for result in answer.failed}
        book.record(range(indices.start, indices.start + len(items)), errors)
        self._updated_at = workflow.now()
        if book.reach_checkpoint(start.checkpoint_every):
            await self._checkpoint(calls)

    async def _checkpoint(self, calls: Calls) -> None:
        """The memo has it too: it can be read when no worker runs, and after a terminate."""
        book, start = self._book, self._start
        workflow.upsert_memo({"checkpoint": book.position, "failed": book.failed})
        quarter = book.reach_quarter()
        if book.too_many(start.failure_limit):
            await self._tell(calls, "failed")
            handled = book.done + book.failed
            raise ApplicationError(
                f"{book.failed} of {handled} items failed, more than the limit of {start.failure_limit:.0%}. "
                f"The last: {book.failed_items[-1].error}",
                book.status(),
                type=TOO_MANY_FAILURES,
                non_retryable=True,
            )
        if not book.over and (quarter or start.notify_at == "checkpoints"):
            await self._tell(calls, "checkpoint" if start.notify_at == "checkpoints" else "quarter")

    async def _tell(self, calls: Calls, event: str) -> None:
        if not self._start.notify:
            return
        book, info = self._book, workflow.info()
        known = len(book.failed_items)
        notice = Notice(
            key=f"{info.first_execution_run_id}/{event}/{book.position}",
            workflow_id=info.workflow_id,
            event=event,
            total=book.total - book.first,
            done=book.done,
            failed=book.failed,
            failures=book.failed_items[self._told :],
        )
        if await calls.tell(notice):
            self._told = known

    async def _pause(self) -> None:
        self._mark()
        await workflow.wait_condition(lambda: not self._desk.paused)
        self._mark()

    async def _renew(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        carried = Carried(
            book=self._book,
            decisions=self._desk.book,
            targets=self._carried.targets,
            paused_by=self._desk.paused_by,
            cancelled_by=self._desk.cancelled_by,
            told=self._told,
        )
        workflow.continue_as_new(self._start.model_copy(update={"carried": carried}))

    async def _end(self, calls: Calls) -> LongRunningResult:
        self._desk.over = True
        outcome = self._stage()
        await self._tell(calls, outcome)
        await workflow.wait_condition(workflow.all_handlers_finished)
        self._mark()
        known = self._book.model_dump(include={"done", "failed", "failed_items"})
        return LongRunningResult(outcome=outcome, total=self._book.total - self._book.first, **known)

    def _stage(self) -> str:
        if self._desk.cancelled:
            return "cancelled" if self._desk.over else "cancelling"
        if self._desk.over:
            return "completed"
        return "paused" if self._desk.paused else "running"

    def _mark(self) -> None:
        upsert_changed({STAGE: self._stage(), WAITING_FOR: self._holds.waiting_for()})

    def _full(self) -> bool:
        info = workflow.info()
        length = info.get_current_history_length()
        return info.is_continue_as_new_suggested() or length > self._start.most_events

    def _hear(self, verb: Signal, raw: RawValue) -> None:
        self._desk.hear(verb, raw, workflow.now())
        self._updated_at = workflow.now()

    @workflow.signal(name="pause", description="Stop after the batch under way. Body: a Decision.")
    @lenient_signal
    def pause(self, raw: RawValue = NO_BODY) -> None:
        self._hear(Signal.PAUSE, raw)

    @workflow.signal(name="unpause", description="Go on. Body: a Decision.")
    @lenient_signal
    def unpause(self, raw: RawValue = NO_BODY) -> None:
        self._hear(Signal.UNPAUSE, raw)

    @workflow.signal(name="cancel", description="End after the batch under way. Body: a Decision.")
    @lenient_signal
    def cancel(self, raw: RawValue = NO_BODY) -> None:
        self._hear(Signal.CANCEL, raw)

    @workflow.signal(name="resume", description="A breaker lets it go on. Body: a Resume.")
    @lenient_signal
    def resume(self, raw: RawValue = NO_BODY) -> None:
        self._holds.resume(raw)

    @workflow.query(name="get_progress", description="How many of how many, and which failed.")
    def progress(self) -> Progress:
        return self._book.status(paused=self._desk.paused)

    @workflow.query(name="get_status", description="Stage, and what happens next.")
    def status(self) -> Status:
        stage, held = self._stage(), " and ".join(self._holds.held)
        by = f" by {self._desk.paused_by}" if self._desk.paused_by else ""
        summary = {
            "paused": f"Paused{by}; it goes on when it is unpaused.",
            "cancelling": "It stops after the batch under way.",
            "running": f"Next is item {self._book.position + 1} of {self._book.total}.",
        }.get(stage, "Nothing more happens.")
        if held and stage == "running":
            summary = f"Held until {held} works again; then it goes on by itself."
        waiting = self._holds.waiting_for()
        return Status(
            status=stage, stage=stage, updated_at=self._updated_at, waiting_for=waiting, summary=summary
        )

    @workflow.query(name="get_decision", description="The verdict on a decision, by its id.")
    def decision(self, decision_id: str) -> Verdict:
        return self._desk.book.get(decision_id)
