"""One process's gate to one dependency: whom to admit, and what to report to the breaker workflow."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from workers.contracts import CircuitState, CircuitStatus, Query
from workers.patterns.breaker import Machine, Report, breaker_id, circuit_open

logger = logging.getLogger(__name__)

FRESH_SECONDS = 1.0
PATIENCE_SECONDS = 0.5  # how long a call waits for the state; the question itself may take longer
QUERY_SECONDS = 1.5
REPORT_SECONDS = 1.0
QUIET_SECONDS = 15.0  # successes alone are statistics, and a signal costs four history events
LEAD_SECONDS = 3.0  # how long our own report may be on its way
SENDING_TRIES = 3


class Gate:
    """Lives on the event loop of the worker. `stale`: the breaker did not answer the last question."""

    def __init__(self, client: Client, dependency: str) -> None:
        self.stale = False
        self._client = client
        self._dependency = dependency
        self._process = uuid.uuid4().hex
        self._machine: Machine | None = None
        self._asked_at = float("-inf")
        self._moved_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._pending = Report()
        self._seq = 0
        self._due: asyncio.TimerHandle | None = None
        self._due_at = float("inf")
        self._reported_at = float("-inf")
        self._sending: set[asyncio.Task[None]] = set()
        self._used: str = ""

    async def admit(self, lease: str, attempt: int) -> tuple[int, bool]:
        """Returns the epoch (0: not known) and whether the call is the probe. Raises CircuitOpen."""
        await self._refresh()
        if lease and not self._lends(lease):
            await self._confirm()
        machine = self._machine
        if machine is None or machine.state is CircuitState.CLOSED:
            return (machine.epoch if machine else 0), False
        if self._lends(lease):
            self._used = lease
            return machine.epoch, True
        if machine.state is CircuitState.HALF_OPEN:
            self._pending.refused += 1
            self._schedule(REPORT_SECONDS)
        raise circuit_open(self._dependency, attempt)

    def note(self, epoch: int, *, failed: bool = False, error: str = "", lease: str = "") -> None:
        """Count a finished call. Reports at once when it was the probe, or when it makes the breaker open."""
        if epoch != self._pending.epoch:
            if self._pending.calls:
                self._flush()
            self._pending.epoch = epoch
        pending = self._pending
        pending.calls += 1
        pending.failures += failed
        pending.tail = pending.tail + 1 if failed else 0
        if failed:
            pending.last_error = error[:500]
        if lease:
            pending.lease, pending.healthy = lease, not failed
        if lease or self._tips():
            self._flush()
        else:
            counted = self._machine is not None and self._machine.failure_count > 0
            self._schedule(REPORT_SECONDS if pending.failures or counted else QUIET_SECONDS)

    def _lends(self, lease: str) -> bool:
        """A lease is good for one call, also when nobody confirms it: a wasted one holds everybody up."""
        machine = self._machine
        if not lease or machine is None or self._used == lease:
            return False
        return self.stale or (machine.state is CircuitState.HALF_OPEN and machine.lease == lease)

    def _tips(self) -> bool:
        machine, pending = self._machine, self._pending
        if machine is None or machine.state is not CircuitState.CLOSED:
            return False
        before = machine.failure_count if pending.calls == pending.failures else 0
        return before + pending.tail >= machine.config.threshold

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
                rpc_timeout=timedelta(seconds=QUERY_SECONDS),
            )
        except (RPCError, WorkflowQueryFailedError) as error:
            if not self.stale:
                logger.warning(
                    "The breaker of %s does not answer, its last state is kept: %s", self._dependency, error
                )
            self.stale = True
            return
        self.stale = False
        self._adopt(status)

    def _adopt(self, status: CircuitStatus) -> None:
        """An older epoch than ours is the breaker's answer from before our last report, for a moment."""
        ours = self._machine
        leading = time.monotonic() - self._moved_at < LEAD_SECONDS
        if ours is None or status.epoch >= ours.epoch or not leading:
            self._machine = Machine.of(status)

    def _schedule(self, after: float) -> None:
        loop = asyncio.get_running_loop()
        at = max(loop.time(), self._reported_at + after)
        if at < self._due_at:
            if self._due:
                self._due.cancel()
            self._due_at, self._due = at, loop.call_at(at, self._flush)

    def _flush(self) -> None:
        """Report what is pending, and move our own copy by it at once, so as not to wait for the answer."""
        if self._due:
            self._due.cancel()
        self._due, self._due_at = None, float("inf")
        self._reported_at = asyncio.get_running_loop().time()
        self._seq += 1
        report = self._pending.model_copy(update={"process": self._process, "seq": self._seq})
        self._pending = Report(epoch=report.epoch)
        if self._machine is not None:
            epoch = self._machine.epoch
            self._machine.report(report, datetime.now(UTC))
            if self._machine.epoch != epoch:
                self._moved_at = time.monotonic()
        task = asyncio.create_task(self._send(report))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, report: Report) -> None:
        """The number makes a doubled report harmless, so sending again is safe; a lost one is only late."""
        handle = self._client.get_workflow_handle(breaker_id(self._dependency))
        for left in reversed(range(SENDING_TRIES)):
            try:
                await handle.signal("report", report, rpc_timeout=timedelta(seconds=5))
            except RPCError as error:
                logger.warning("The breaker of %s did not hear a report: %s", self._dependency, error)
                if not left or error.status is RPCStatusCode.NOT_FOUND:
                    return
                await asyncio.sleep(REPORT_SECONDS)
            else:
                return
