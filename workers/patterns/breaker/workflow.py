"""BreakerWorkflow: the one place that knows whether a dependency may be called. Id `breaker-<dependency>`."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from workers.client.attributes import CIRCUIT_STATE
    from workers.contracts import CircuitState, Decision, Outcome
    from workers.patterns.breaker.actions import refuses_probe
    from workers.patterns.breaker.activities import Wake, find_held, offer_probe, release_held
    from workers.patterns.breaker.config import BreakerConfig, Report
    from workers.patterns.breaker.handlers import BreakerActs
    from workers.patterns.breaker.machine import Machine
    from workers.patterns.breaker.names import WORKFLOW_TYPE
    from workers.patterns.breaker.release import BATCH_GROWTH, LARGEST_BATCH, PAUSE_SECONDS, Release
    from workers.patterns.decisions import NO_BODY, DecisionLog, lenient_signal, read
    from workers.patterns.search_attributes import upsert_changed

MOST_EVENTS = 2_000
PATIENT = "patient-breaker"
"""Runs of builds before it let one silent probe open them, and one empty pass end a release."""


class BreakerState(BreakerConfig):
    """The argument: a BreakerConfig is enough; the rest is what continue-as-new carries on.

    `batch`: where an older build was in its release.
    """

    machine: Machine | None = None
    book: DecisionLog = Field(default_factory=DecisionLog)
    batch: int = 0
    release: Release | None = None
    most_events: int = MOST_EVENTS


@workflow.defn(name=WORKFLOW_TYPE)
class BreakerWorkflow(BreakerActs):
    """Merges the reports of all processes, lends the probe lease, and releases what was held."""

    @workflow.init
    def __init__(self, start: BreakerState) -> None:
        self._machine = start.machine or Machine(config=BreakerConfig.model_validate(start.model_dump()))
        self._book = start.book
        self._release = start.release or Release(batch=start.batch)
        self._most_events = start.most_events
        self._updated_at = workflow.now()
        self._nudged = False
        self._asked: Decision | None = None

    @workflow.run
    async def run(self, start: BreakerState) -> None:
        if start.machine is None and workflow.patched(PATIENT):
            self._release.look_once()
        while self._asked or not self._full():
            upsert_changed({CIRCUIT_STATE: self._machine.state.value})
            await self._turn()
            before = self._machine.state
            self._machine.tick(workflow.now())
            self._moved(before)
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(
            BreakerState(
                **self._machine.config.model_dump(),
                machine=self._machine,
                book=self._book,
                release=self._release,
                most_events=self._most_events,
            )
        )

    async def _turn(self) -> None:
        machine = self._machine
        if self._asked:
            await self._probe(self._asked)
        elif machine.forced and not self._release.batch:
            await self._change(until=machine.forced.until)
        elif machine.state is CircuitState.OPEN:
            await self._change(until=machine.next_probe_at)
        elif machine.state is CircuitState.HALF_OPEN and machine.lease:
            await self._change(until=machine.lease_until)
        elif machine.state is CircuitState.HALF_OPEN:
            await self._seek_probe()
        elif self._release.batch:
            await self._let_go()
        else:
            await self._change()

    async def _change(self, until: datetime | None = None, refusals: int | None = None) -> None:
        """Wait for another state or lease, an act, `until`, or more than `refusals`. Not for each report."""
        machine = self._machine
        known = (machine.epoch, machine.lease, machine.lease_until)
        self._nudged = False

        def changed() -> bool:
            moved = (machine.epoch, machine.lease, machine.lease_until) != known
            refused = refusals is not None and machine.refusals > refusals
            return moved or self._nudged or refused or self._full()

        timeout = max(timedelta(), until - workflow.now()) if until else None
        with contextlib.suppress(TimeoutError):  # then `tick` does what is due
            await workflow.wait_condition(changed, timeout=timeout, timeout_summary=f"{machine.state}")

    async def _seek_probe(self, chosen: str = "") -> bool:
        """Lend the lease first: the workflow that gets it must find it in our answer."""
        machine = self._machine
        refusals, lease, patient = machine.refusals, str(workflow.uuid4()), workflow.patched(PATIENT)
        machine.lend(lease, workflow.now(), patient=patient)
        wake = self._wake(lease=lease, workflow_id=chosen, avoid=machine.passed_over)
        try:
            holder = await workflow.execute_activity(
                offer_probe,
                wake,
                summary="offer the probe",
                start_to_close_timeout=timedelta(seconds=10),
                retry_policy=RetryPolicy(
                    initial_interval=timedelta(seconds=0.5), maximum_attempts=1 if chosen else 5
                ),
            )
        except ActivityError:
            if machine.lease == lease:
                again = machine.nobody(workflow.now())
                if not chosen and not self._asked:
                    # Nothing is held, so nothing is asked of us either until somebody is refused.
                    await self._change(until=again if patient else None, refusals=refusals)
            return False
        machine.held_by(lease, holder, workflow.now())
        return True

    async def _probe(self, decision: Decision) -> None:
        """A person wants a probe now, of a certain workflow or of any that is held."""
        machine, holder = self._machine, ""
        problem = refuses_probe(machine, decision)
        if not problem:
            with contextlib.suppress(ActivityError):
                holder = await workflow.execute_activity(
                    find_held,
                    self._wake(workflow_id=decision.workflow_id, avoid=machine.passed_over),
                    summary="find who may probe",
                    start_to_close_timeout=timedelta(seconds=10),
                    retry_policy=RetryPolicy(maximum_attempts=3),
                )
            problem = refuses_probe(machine, decision)
        if holder and not problem:
            if machine.state is CircuitState.OPEN:
                machine.half_open(
                    workflow.now(), f"{decision.actor} asked for a probe: {decision.reason}"[:500]
                )
            holder = holder if await self._seek_probe(holder) else ""
        chosen = f"{decision.workflow_id} is not" if decision.workflow_id else "Nothing is"
        detail = problem or (f"{holder} probes." if holder else f"{chosen} held at this breaker.")
        outcome = Outcome.APPLIED if holder and not problem else Outcome.REFUSED
        self._book.record(decision, outcome, detail, workflow.now())
        self._asked = None

    async def _let_go(self) -> None:
        """Wake some of what is held, then wait; stop when it opens again."""
        machine, release = self._machine, self._release
        patient = workflow.patched(PATIENT)
        try:
            woken = await workflow.execute_activity(
                release_held,
                self._wake(limit=release.batch),
                summary=f"release up to {release.batch}",
                start_to_close_timeout=timedelta(seconds=20),
                retry_policy=RetryPolicy(maximum_attempts=5),
            )
        except ActivityError:
            woken = 0
        if machine.state is not CircuitState.CLOSED:
            release.stop()
        elif patient:
            pause = release.passed(woken, machine.failure_count)
            if pause:
                await self._change(until=workflow.now() + timedelta(seconds=pause))
        else:
            release.batch = min(release.batch * BATCH_GROWTH, LARGEST_BATCH) if woken else 0
            if woken:
                await self._change(until=workflow.now() + timedelta(seconds=PAUSE_SECONDS))

    def _wake(self, **whom: Any) -> Wake:
        machine = self._machine
        return Wake(dependency=machine.config.dependency, epoch=machine.epoch, **whom)

    def _full(self) -> bool:
        info = workflow.info()
        return info.is_continue_as_new_suggested() or info.get_current_history_length() > self._most_events

    def _moved(self, before: CircuitState) -> None:
        super()._moved(before)
        if self._machine.state is before:
            return
        if self._machine.state is CircuitState.CLOSED:
            self._release.begin()
        else:
            self._release.stop()

    def _released(self) -> None:
        self._release.begin()
        self._nudged = True

    @workflow.signal(name="report", description="What a worker process saw. Body: a Report.")
    @lenient_signal
    def report(self, raw: RawValue = NO_BODY) -> None:
        report = read(raw, Report)
        if report is None:
            return
        before, now = self._machine.state, workflow.now()
        self._machine.report(report, now)
        self._moved(before)
        closed = self._machine.state is before is CircuitState.CLOSED
        if closed and report.refused and workflow.patched(PATIENT):
            # A process with an older state refused somebody, who is held now and may not be in the list yet.
            self._nudged = self._nudged or not self._release.batch
            self._release.again()

    @workflow.signal(name="configure", description="New settings. Body: a BreakerConfig.")
    @lenient_signal
    def configure(self, raw: RawValue = NO_BODY) -> None:
        config = read(raw, BreakerConfig)
        machine, before = self._machine, self._machine.state
        if config and config.dependency == machine.config.dependency and config != machine.config:
            machine.configure(config, workflow.now())
            self._moved(before)
            self._nudged = True

    @workflow.signal(name="probe", description="Probe now, by `workflow_id` or by any. Body: a Decision.")
    @lenient_signal
    def probe(self, raw: RawValue = NO_BODY) -> None:
        now = workflow.now()
        decision = self._book.take(raw, now)
        if decision is None:
            return
        problem = (
            "Another probe is being prepared." if self._asked else refuses_probe(self._machine, decision)
        )
        if problem:
            self._book.record(decision, Outcome.REFUSED, problem, now)
            return
        self._book.record(decision, Outcome.PENDING, "It is looked for somebody who may probe.", now)
        self._asked, self._nudged = decision, True
