"""One process's gate to one dependency: whom to admit, by a state of the breaker of at most a second ago."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.common import QueryRejectCondition
from temporalio.service import RPCError, RPCStatusCode

from workers import counters
from workers.contracts import CircuitState, CircuitStatus, Query
from workers.patterns.breaker.names import Machine, Report, breaker_id, circuit_open
from workers.patterns.breaker.reporter import Reporter

logger = logging.getLogger(__name__)

FRESH_SECONDS = 1.0
PATIENCE_SECONDS = 0.5  # how long a call waits for the state; the question itself may take longer
QUERY_SECONDS = 1.5
LEAD_SECONDS = 3.0  # how long our own report may be on its way
LOOK_SECONDS = 1.0
LONGEST_LOOK_SECONDS = 60.0


class Gate:
    """Lives on the event loop of the worker. `stale`: the breaker did not answer the last question."""

    def __init__(self, client: Client, dependency: str) -> None:
        self.stale = False
        self._client = client
        self._dependency = dependency
        self._reporter = Reporter(client, dependency, self._reported)
        self._machine: Machine | None = None
        self._asked_at = float("-inf")
        self._moved_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._lent: str | None = None
        self._used = ""
        self._refused = 0
        self._again = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def admit(self, lease: str, attempt: int) -> tuple[int, bool]:
        """Returns the epoch (0: not known) and whether the call is the probe. Raises CircuitOpen."""
        await self._refresh()
        if lease and not self._lends(lease):
            await self._confirm()
        machine = self._machine
        epoch = machine.epoch if machine else 0
        if lease and self._lends(lease):
            self._used = lease
            self._reporter.probing(lease)
            return epoch, True
        if machine is None or machine.state is CircuitState.CLOSED:
            return epoch, False
        self._refuse()
        counters.count("breaker_refusals", dependency=self._dependency)
        raise circuit_open(self._dependency, attempt)

    def note(self, epoch: int, *, failed: bool = False, error: str = "", lease: str = "") -> None:
        """Count a finished call; with `lease` it was the probe."""
        machine = self._machine
        if lease:
            self._reporter.probed(epoch, lease, healthy=not failed, error=error)
        elif failed:
            self._reporter.failed(epoch, error, machine)
        else:
            self._reporter.worked(epoch, counted=machine is not None and machine.failure_count > 0)

    def give_back(self, lease: str) -> None:
        """The probe ended without a word on the dependency, so another may have the lease."""
        self._reporter.probed(0, lease, healthy=None)

    def _lends(self, lease: str) -> bool:
        """A lease is good for one call, also when nobody confirms it: a wasted one holds everybody up."""
        if self._used == lease:
            return False
        forced = self._machine is not None and self._machine.forced
        return not forced if self.stale else self._lent == lease

    async def _refresh(self) -> None:
        if self._asking is None and time.monotonic() - self._asked_at < FRESH_SECONDS:
            return
        asking = self._question()
        if not self.stale:  # while the breaker does not answer, only one call a second asks, and none waits
            await asyncio.wait({asking}, timeout=PATIENCE_SECONDS)

    async def _confirm(self) -> None:
        """The lease may have been lent after the last question was asked, so ask anew, and wait for it."""
        if self._asking is not None:
            await asyncio.wait({self._asking})
        await asyncio.wait({self._question()})

    def _question(self) -> asyncio.Task[None]:
        if self._asking is None:
            self._asked_at = time.monotonic()
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._answered)
        return self._asking

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._asking = None

    async def _ask(self) -> None:
        handle = self._client.get_workflow_handle(breaker_id(self._dependency))
        try:
            status: CircuitStatus = await handle.query(
                Query.CIRCUIT.value,
                result_type=CircuitStatus,
                reject_condition=QueryRejectCondition.NOT_OPEN,
                rpc_timeout=timedelta(seconds=QUERY_SECONDS),
            )
            self._adopt(status)
        except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError, ValueError) as error:
            gone = isinstance(error, WorkflowQueryRejectedError) or (
                isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND
            )
            self._silent(error, gone=gone)
        else:
            self.stale = False

    def _silent(self, error: Exception, *, gone: bool) -> None:
        """Keep the last state of a breaker that does not answer. One that has ended decides nothing more."""
        if gone:
            self._machine = self._lent = None
        elif not self.stale:
            logger.warning(
                "The breaker of %s does not answer, its last state is kept: %s", self._dependency, error
            )
        self.stale = not gone

    def _adopt(self, status: CircuitStatus) -> None:
        """An older epoch than ours is the breaker's answer from before our last report, for a moment."""
        self._reporter.processes = max(1, status.processes)
        self._lent = status.probe_lease if status.state == CircuitState.HALF_OPEN else None
        ours = self._machine
        if ours is None or status.epoch >= ours.epoch or not self._leading():
            self._machine = Machine.of(status)

    def _leading(self) -> bool:
        return time.monotonic() - self._moved_at < LEAD_SECONDS

    def _reported(self, report: Report) -> None:
        """Move our own copy by our own report at once, so as not to wait for the answer."""
        if self._machine is not None:
            epoch = self._machine.epoch
            self._machine.report(report, datetime.now(UTC))
            if self._machine.epoch != epoch:
                self._moved_at = time.monotonic()

    def _refuse(self) -> None:
        """Whoever is refused will be held. See to it that the breaker learns of it once it can wake them:
        it may have changed already, and then nobody else would."""
        self._refused += 1
        self._again.set()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking = None

    async def _look(self) -> None:
        """Ask until a state from after the refusals is one in which the breaker can do something for them."""
        unanswered = 0
        while self._refused:
            with contextlib.suppress(TimeoutError):
                patience = min(self._patience() * 2 ** min(unanswered, 6), LONGEST_LOOK_SECONDS)
                await asyncio.wait_for(self._again.wait(), patience)
            if self._again.is_set():
                self._again.clear()
                await asyncio.sleep(LOOK_SECONDS)
            told = self._refused
            await self._confirm()
            unanswered = unanswered + 1 if self.stale else 0
            machine = self._machine
            if machine is None and not self.stale:
                self._refused = 0  # nobody guards any more; their own timers bring them back
            elif machine is not None and not self.stale and not self._leading() and _wakes(machine):
                self._refused -= told
                self._reporter.refused(told)

    def _patience(self) -> float:
        """Seconds until the state may be another; the one that refused is asked for again soon anyway."""
        machine = self._machine
        if self._leading():
            return LEAD_SECONDS
        if self.stale or machine is None or machine.state is not CircuitState.OPEN:
            return LOOK_SECONDS
        if machine.next_probe_at is None:
            return LONGEST_LOOK_SECONDS
        seconds = (machine.next_probe_at - datetime.now(UTC)).total_seconds() + LOOK_SECONDS
        return min(max(seconds, LOOK_SECONDS), LONGEST_LOOK_SECONDS)


def _wakes(machine: Machine) -> bool:
    """Can this breaker wake somebody: does it let all go, or look for one to probe?"""
    half = machine.state is CircuitState.HALF_OPEN and not machine.lease
    return half or machine.state is CircuitState.CLOSED
