"""BreakerWorkflow: the one place that knows whether a dependency may be called. Id `breaker-<dependency>`."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta

from pydantic import Field
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from workers.activities.breaker import Wake, offer_probe, release_held
    from workers.attributes import CIRCUIT_STATE
    from workers.contracts import CircuitState, CircuitStatus, Status, Verdict
    from workers.patterns.breaker import WORKFLOW_TYPE, BreakerConfig, Machine, Report
    from workers.patterns.decisions import NO_BODY, DecisionBook, read, tolerant
    from workers.patterns.marks import mark

FIRST_BATCH = 1
BATCH_GROWTH = 5
LARGEST_BATCH = 625
PAUSE_SECONDS = 1.0  # between batches: time for the dependency to fall over again
MOST_EVENTS = 2_000


class BreakerState(BreakerConfig):
    """The argument: a BreakerConfig is enough; the rest is what continue-as-new carries on.

    `batch`: how many to release next; 0: none.
    """

    machine: Machine | None = None
    book: DecisionBook = Field(default_factory=DecisionBook)
    batch: int = 0
    most_events: int = MOST_EVENTS


@workflow.defn(name=WORKFLOW_TYPE)
class BreakerWorkflow:
    """Merges the reports of all processes, lends the probe lease, and releases what was held."""

    @workflow.init
    def __init__(self, start: BreakerState) -> None:
        self._machine = start.machine or Machine(config=BreakerConfig.model_validate(start.model_dump()))
        self._book = start.book
        self._batch = start.batch
        self._most_events = start.most_events
        self._updated_at = workflow.now()
        self._nudged = False

    @workflow.run
    async def run(self, start: BreakerState) -> None:
        while not self._full():
            mark({CIRCUIT_STATE: self._machine.state.value})
            await self._turn()
            self._machine.tick(workflow.now())
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(
            BreakerState(
                **self._machine.config.model_dump(),
                machine=self._machine,
                book=self._book,
                batch=self._batch,
                most_events=self._most_events,
            )
        )

    async def _turn(self) -> None:
        machine = self._machine
        if machine.state is CircuitState.OPEN:
            await self._change(until=machine.next_probe_at)
        elif machine.state is CircuitState.HALF_OPEN and machine.lease:
            await self._change(until=machine.lease_until)
        elif machine.state is CircuitState.HALF_OPEN:
            await self._seek_probe()
        elif self._batch:
            await self._release()
        else:
            await self._change()

    async def _change(self, until: datetime | None = None, refusals: int | None = None) -> None:
        """Wait for another state, settings, `until`, or more than `refusals`. Not for each report."""
        machine, epoch = self._machine, self._machine.epoch
        self._nudged = False

        def changed() -> bool:
            refused = refusals is not None and machine.refusals > refusals
            return machine.epoch != epoch or self._nudged or refused or self._full()

        timeout = max(timedelta(), until - workflow.now()) if until else None
        with contextlib.suppress(TimeoutError):  # then `tick` does what is due
            await workflow.wait_condition(changed, timeout=timeout, timeout_summary=f"{machine.state}")

    async def _seek_probe(self) -> None:
        """Lend the lease first: the workflow that gets it must find it in our answer."""
        machine = self._machine
        refusals, lease = machine.refusals, str(workflow.uuid4())
        machine.lend(lease, workflow.now())
        wake = Wake(dependency=machine.config.dependency, epoch=machine.epoch, lease=lease)
        try:
            holder = await workflow.execute_activity(
                offer_probe,
                wake,
                summary="offer the probe",
                start_to_close_timeout=timedelta(seconds=10),
                retry_policy=RetryPolicy(initial_interval=timedelta(seconds=0.5), maximum_attempts=5),
            )
        except ActivityError:
            if machine.lease == lease:
                machine.take_back()
                # Nothing is held, so nothing is asked of us either until somebody is refused.
                await self._change(refusals=refusals)
        else:
            machine.held_by(lease, holder)

    async def _release(self) -> None:
        """Wake what is held in growing batches until a pass finds none; stop when it opens again."""
        machine = self._machine
        wake = Wake(dependency=machine.config.dependency, epoch=machine.epoch, limit=self._batch)
        try:
            woken = await workflow.execute_activity(
                release_held,
                wake,
                summary=f"release up to {self._batch}",
                start_to_close_timeout=timedelta(seconds=60),
                retry_policy=RetryPolicy(maximum_attempts=5),
            )
        except ActivityError:
            woken = 0  # the held ones have timers of their own
        self._batch = min(self._batch * BATCH_GROWTH, LARGEST_BATCH) if woken else 0
        if woken and machine.state is CircuitState.CLOSED:
            await self._change(until=workflow.now() + timedelta(seconds=PAUSE_SECONDS))

    def _full(self) -> bool:
        info = workflow.info()
        return info.is_continue_as_new_suggested() or info.get_current_history_length() > self._most_events

    @workflow.signal(name="report", description="What a worker process saw. Body: a Report.")
    @tolerant
    def report(self, raw: RawValue = NO_BODY) -> None:
        report = read(raw, Report)
        if report is None:
            return
        machine, before, now = self._machine, self._machine.state, workflow.now()
        machine.report(report, now)
        self._updated_at = now
        if machine.state is not before:
            self._batch = FIRST_BATCH if machine.state is CircuitState.CLOSED else 0

    @workflow.signal(name="configure", description="New settings. Body: a BreakerConfig.")
    @tolerant
    def configure(self, raw: RawValue = NO_BODY) -> None:
        config = read(raw, BreakerConfig)
        machine = self._machine
        if config and config.dependency == machine.config.dependency and config != machine.config:
            machine.configure(config, workflow.now())
            self._nudged = True

    @workflow.query(name="get_circuit_status", description="The breaker as it is.")
    def circuit_status(self) -> CircuitStatus:
        return self._machine.status()

    @workflow.query(name="get_status", description="State and what happens next.")
    def status(self) -> Status:
        machine = self._machine
        summary = {
            CircuitState.CLOSED: "Calls go through.",
            CircuitState.OPEN: f"Calls are refused until a probe at {machine.next_probe_at:%H:%M:%S} UTC."
            if machine.next_probe_at
            else "Calls are refused.",
            CircuitState.HALF_OPEN: "One probe decides whether calls go through again.",
        }[machine.state]
        return Status(status=machine.state, updated_at=self._updated_at, summary=summary)

    @workflow.query(name="get_decision", description="The verdict on a decision, by its id.")
    def decision(self, decision_id: str) -> Verdict:
        return self._book.get(decision_id)
