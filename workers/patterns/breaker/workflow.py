"""BreakerWorkflow: the one place that knows whether a dependency may be called. Id `breaker-<dependency>`."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from workers.client.attributes import CIRCUIT_STATE
    from workers.contracts import CircuitState, Decision, Outcome
    from workers.history import should_continue_as_new
    from workers.patterns.breaker.activities import Wake, find_held, offer_probe, release_held
    from workers.patterns.breaker.config import BreakerConfig, Report
    from workers.patterns.breaker.handlers import BreakerHandlers, refuses_probe
    from workers.patterns.breaker.messages import BreakerState
    from workers.patterns.breaker.names import WORKFLOW_TYPE
    from workers.patterns.breaker.release import Release
    from workers.patterns.decisions import NO_BODY, DecisionResult, lenient_signal, read
    from workers.patterns.search_attributes import upsert_changed

SEARCHES = 3
"""Attempts of a search for a held workflow, as the list lags; then any call may claim the probe."""


@workflow.defn(name=WORKFLOW_TYPE)
class BreakerWorkflow(BreakerHandlers):
    """Merges the reports of all processes, grants the probe lease, and wakes the workflows that were held."""

    @workflow.init
    def __init__(self, start: BreakerState) -> None:
        super().__init__(start)
        self._release = start.release or Release()
        self._most_events = start.most_events
        self._wake = False
        self._pending_probe: Decision | None = None

    @workflow.run
    async def run(self, start: BreakerState) -> None:
        if start.machine is None:
            self._release.look_once()
        upsert_changed({CIRCUIT_STATE: self._machine.state.value})
        while self._pending_probe or not should_continue_as_new(self._most_events):
            await self._step()
            self._machine.tick(workflow.now())
            self._moved()
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(
            BreakerState(
                **self._machine.config.model_dump(),
                machine=self._machine,
                decisions=self.decisions,
                release=self._release,
                most_events=self._most_events,
            )
        )

    async def _step(self) -> None:
        machine = self._machine
        if self._pending_probe:
            await self._probe(self._pending_probe)
        elif machine.state is CircuitState.HALF_OPEN and not machine.lease:
            await self._offer_probe()
        elif machine.state is CircuitState.CLOSED and self._release.batch:
            await self._release_batch()
        else:
            await self._wait_for_change(until=machine.due)

    async def _wait_for_change(self, until: datetime | None = None, refusals: int | None = None) -> None:
        """Wait for a state or lease, a decision, `until`, or more than `refusals`, not for each report."""
        machine = self._machine
        known = (machine.epoch, machine.lease, machine.lease_until)
        self._wake = False

        def changed() -> bool:
            moved = (machine.epoch, machine.lease, machine.lease_until) != known
            refused = refusals is not None and machine.refusals > refusals
            return moved or self._wake or refused or should_continue_as_new(self._most_events)

        timeout = max(timedelta(), until - workflow.now()) if until else None
        with contextlib.suppress(TimeoutError):  # then `tick` does what is due
            await workflow.wait_condition(changed, timeout=timeout, timeout_summary=f"{machine.state}")

    async def _offer_probe(self, chosen: str = "") -> bool:
        """Offer the lease to a held workflow, to `chosen` if given. False: none is held.

        The lease is granted first, as the workflow that gets it may use it at once.
        """
        machine = self._machine
        refusals, lease = machine.refusals, str(workflow.uuid4())
        machine.grant_lease(lease, workflow.now())
        try:
            offered = await workflow.execute_activity(
                offer_probe,
                self._target(lease=lease, workflow_id=chosen, avoid=machine.skipped),
                summary="offer the probe",
                start_to_close_timeout=timedelta(seconds=10),
                retry_policy=RetryPolicy(
                    initial_interval=timedelta(seconds=0.5), maximum_attempts=1 if chosen else SEARCHES
                ),
            )
        except ActivityError:
            if machine.lease == lease:
                if not chosen:
                    self._held, self._amount = 0, ""
                search_again = machine.no_candidate(workflow.now())
                if not chosen and not self._pending_probe:
                    await self._wait_for_change(until=search_again, refusals=refusals)
            return False
        if offered.held is not None:
            self._held, self._amount = offered.held, offered.amount
        machine.assign_probe(lease, offered.holder, workflow.now())
        return True

    async def _probe(self, decision: Decision) -> None:
        """A person wants a probe now, of a certain workflow or of any that is held."""
        outcome, detail = await self._try_probe(decision)
        self.decisions.record(decision, outcome, detail, workflow.now())
        self._pending_probe = None

    async def _try_probe(self, decision: Decision) -> tuple[Outcome, str]:
        machine, holder = self._machine, ""
        if problem := refuses_probe(machine, decision):
            return Outcome.REFUSED, problem
        with contextlib.suppress(ActivityError):
            holder = await workflow.execute_activity(
                find_held,
                self._target(workflow_id=decision.workflow_id, avoid=machine.skipped),
                summary="find a workflow to probe",
                start_to_close_timeout=timedelta(seconds=10),
                retry_policy=RetryPolicy(maximum_attempts=3),
            )
        if problem := refuses_probe(machine, decision):  # it may have changed meanwhile
            return Outcome.REFUSED, problem
        if holder:
            self._half_open(decision)
            if await self._offer_probe(holder):
                return Outcome.APPLIED, f"{holder} probes."
        if decision.workflow_id:
            return Outcome.REFUSED, f"{decision.workflow_id} is not held at this breaker."
        self._half_open(decision)
        machine.no_candidate(workflow.now())
        return Outcome.APPLIED, "No workflow is held at this breaker; the next call probes."

    async def _release_batch(self) -> None:
        """Wake some of the held workflows, then pause; stop when it opens again."""
        machine, release = self._machine, self._release
        try:
            woken = await workflow.execute_activity(
                release_held,
                self._target(limit=release.batch),
                summary=f"release up to {release.batch}",
                start_to_close_timeout=timedelta(seconds=20),
                retry_policy=RetryPolicy(maximum_attempts=5),
            )
        except ActivityError:
            woken = 0
        if machine.state is not CircuitState.CLOSED:
            release.stop()
        elif pause := release.passed(woken, machine.failure_count):
            await self._wait_for_change(until=workflow.now() + timedelta(seconds=pause))

    def _target(self, **which: Any) -> Wake:
        return Wake(dependency=self._machine.config.dependency, epoch=self._machine.epoch, **which)

    def _state_changed(self) -> None:
        if self._machine.state is CircuitState.CLOSED:
            self._release.begin()
        else:
            self._release.stop()

    def _release_held(self) -> None:
        self._release.begin()
        self._wake = True

    @workflow.signal(name="report", description="What a worker process saw. Body: a Report.")
    @lenient_signal
    def report(self, raw: RawValue = NO_BODY) -> None:
        report = read(raw, Report)
        if report is None:
            return
        before = self._machine.state
        self._machine.report(report, workflow.now())
        self._moved()
        closed = self._machine.state is before is CircuitState.CLOSED
        if closed and report.refused:
            # A process with an older state refused a call; its workflow is held, and perhaps not listed yet.
            self._wake = self._wake or not self._release.batch
            self._release.again()

    @workflow.signal(name="configure", description="New settings. Body: a BreakerConfig.")
    @lenient_signal
    def configure(self, raw: RawValue = NO_BODY) -> None:
        config = read(raw, BreakerConfig)
        machine = self._machine
        if config and config.dependency == machine.config.dependency and config != machine.config:
            machine.configure(config, workflow.now())
            self._moved()
            self._wake = True

    @workflow.signal(name="probe", description="Probe now, by `workflow_id` or by any. Body: a Decision.")
    @lenient_signal
    def probe(self, raw: RawValue = NO_BODY) -> None:
        self.decide(raw, self._accept_probe)

    def _accept_probe(self, decision: Decision) -> DecisionResult:
        pending = "Another probe is being prepared." if self._pending_probe else ""
        if problem := pending or refuses_probe(self._machine, decision):
            return Outcome.REFUSED, problem, ""
        self._pending_probe, self._wake = decision, True
        return Outcome.PENDING, "Looking for a held workflow to run the probe.", ""
