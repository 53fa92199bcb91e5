"""What one process reports to a breaker: counted calls, seldom enough for a history, soon enough to open it.

A report is a signal and costs the breaker four history events, so the processes share a little less than one
a second: the more there are, the longer each waits. At once goes what cannot wait: failures that make the
breaker open by themselves, what the probe found, and failures that no success has followed for a second, as
others may see the same.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Callable
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from workers.contracts import CircuitState
from workers.patterns.breaker.config import BreakerConfig, Report
from workers.patterns.breaker.machine import Machine
from workers.patterns.breaker.names import breaker_id
from workers.patterns.breaker.start import start_breaker

logger = logging.getLogger(__name__)

REPORT_SECONDS = 1.0
SHARE_SECONDS = 1.25  # between reports of any two processes, on average
SUSPECT_SECONDS = 2.0
QUIET_SECONDS = 30.0  # successes alone are statistics
BEGAN_SECONDS = 2.0  # a probe that takes longer says that it has begun
SENDING_TRIES = 3
CLAIM_WAIT = 2.0
LONGEST_ERROR = 500


class Reporter:
    """Lives on the event loop of the worker. `processes`: how many share the breaker, by its own count.

    reported: called with each report as it is sent.
    config: with which a breaker that does not run is started; None: it is not.
    """

    def __init__(
        self,
        client: Client,
        dependency: str,
        reported: Callable[[Report], None],
        config: BreakerConfig | None = None,
    ) -> None:
        self.processes = 1
        self._client = client
        self._dependency = dependency
        self._reported = reported
        self._config = config
        self._process = uuid.uuid4().hex
        self._pending = Report()
        self._seq = 0
        # Processes that started together need not report together.
        self._spread = random.uniform(0.8, 1.2)  # noqa: S311 (no secret)
        self._due: asyncio.TimerHandle | None = None
        self._due_at = float("inf")
        self._reported_at = float("-inf")
        self._succeeded_at = float("-inf")
        self._probing: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()

    def record_success(self, epoch: int, *, ends_row: bool) -> None:
        """The dependency answered. `ends_row`: the breaker counts failures in a row, which this ends."""
        loop = asyncio.get_running_loop()
        self._succeeded_at = loop.time()
        pending = self._pending_of(epoch)
        pending.calls += 1
        pending.tail = 0
        self._schedule_flush(
            self._reported_at + (self._pace() if ends_row or pending.failures else self._quiet()), loop
        )

    def record_failure(self, epoch: int, error: str, machine: Machine | None) -> None:
        """A call failed. Reported at once when that opens the breaker, as far as this process can tell."""
        pending = self._pending_of(epoch)
        pending.calls += 1
        pending.failures += 1
        pending.tail += 1
        pending.last_error = error[:LONGEST_ERROR]
        if _would_open(pending, machine):
            self.flush()
        else:
            self._schedule_flush(
                self._reported_at + min(self._pace(), SUSPECT_SECONDS), asyncio.get_running_loop()
            )

    def record_refusals(self, times: int) -> None:
        """Calls were refused whose workflows are held, and the breaker can wake them now."""
        self._pending.refused += times
        self._schedule_flush(self._reported_at + REPORT_SECONDS, asyncio.get_running_loop())

    async def claim(self, lease: str, holder: str) -> None:
        """Claim the probe for a call of the workflow `holder`; waits until that is sent, or CLAIM_WAIT."""
        self._pending.claim, self._pending.holder = lease, holder
        self.flush()
        await asyncio.wait(self._sending, timeout=CLAIM_WAIT)

    def probe_started(self, lease: str) -> None:
        """The probe is under way; `probe_ended` ends it."""
        later = asyncio.get_running_loop().call_later
        self._probing = later(BEGAN_SECONDS, lambda: self._report_probe(lease, began=True))

    def probe_ended(self, epoch: int, lease: str, *, healthy: bool | None, error: str = "") -> None:
        """What the probe found; None: nothing, and another call may have the lease."""
        if self._probing:
            self._probing.cancel()
        if healthy is not None:
            pending = self._pending_of(epoch)
            pending.calls += 1
            pending.failures += not healthy
            pending.tail = 0 if healthy else pending.tail + 1
            pending.last_error = error[:LONGEST_ERROR]
        self._report_probe(lease, healthy=healthy)

    def flush(self) -> None:
        """Report what is pending now."""
        if self._due:
            self._due.cancel()
        self._due, self._due_at = None, float("inf")
        self._reported_at = asyncio.get_running_loop().time()
        self._seq += 1
        report = self._pending.model_copy(update={"process": self._process, "seq": self._seq})
        self._pending = Report(epoch=report.epoch)
        self._reported(report)
        self._dispatch(report)

    def _report_probe(self, lease: str, *, healthy: bool | None = None, began: bool = False) -> None:
        self._pending.lease, self._pending.healthy, self._pending.began = lease, healthy, began
        self.flush()

    def _pending_of(self, epoch: int) -> Report:
        """What is pending of that epoch: calls that were admitted in different epochs are kept apart."""
        if epoch != self._pending.epoch:
            if self._pending.calls:
                self.flush()
            self._pending.epoch = epoch
        return self._pending

    def _pace(self) -> float:
        return REPORT_SECONDS if self.processes == 1 else self.processes * SHARE_SECONDS * self._spread

    def _quiet(self) -> float:
        return max(QUIET_SECONDS * self._spread, self._pace())

    def _schedule_flush(self, at: float, loop: asyncio.AbstractEventLoop) -> None:
        if at < self._due_at:
            if self._due:
                self._due.cancel()
            at = max(at, loop.time())
            self._due_at, self._due = at, loop.call_at(at, self._fire)

    def _fire(self) -> None:
        """Report, unless these are failures among successes, which can wait until this process reports."""
        loop, pending = asyncio.get_running_loop(), self._pending
        report_at = self._reported_at + self._pace()
        alone = pending.tail and loop.time() - self._succeeded_at >= REPORT_SECONDS
        if alone or pending.refused or not pending.failures or loop.time() >= report_at:
            self.flush()
        else:
            self._due_at, self._due = report_at, loop.call_at(report_at, self._fire)

    def _dispatch(self, report: Report) -> None:
        task = asyncio.create_task(self._send(report))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, report: Report) -> None:
        """A doubled report changes nothing, so sending again is safe; what a lost one counted is lost."""
        handle = self._client.get_workflow_handle(breaker_id(self._dependency))
        for left in reversed(range(SENDING_TRIES)):
            try:
                await handle.signal("report", report, rpc_timeout=timedelta(seconds=5))
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND and not await self._restart():
                    return
                if error.status is not RPCStatusCode.NOT_FOUND:
                    logger.warning("The breaker of %s did not get a report: %s", self._dependency, error)
                    await asyncio.sleep(REPORT_SECONDS if left else 0)
            else:
                return

    async def _restart(self) -> bool:
        """Start the breaker, which never ran or has ended. False: it is not registered, or does not start."""
        if self._config is None:
            return False
        try:
            await start_breaker(self._client, self._config)
        except Exception as error:  # a breaker that cannot be started must not fail what it guards
            logger.warning("The breaker of %s cannot be started: %s", self._dependency, error)
            return False
        logger.warning("The breaker of %s did not run; it was started again.", self._dependency)
        return True


def _would_open(pending: Report, machine: Machine | None) -> bool:
    """Would these calls by themselves, with the row that the breaker counts, open it?"""
    if machine is None or machine.state is not CircuitState.CLOSED or machine.forced:
        return False
    if pending.epoch not in (0, machine.epoch):
        return False
    before = machine.failure_count if pending.calls == pending.failures else 0
    in_a_row = before + pending.tail >= machine.config.threshold
    return in_a_row or machine.config.failing(pending.calls, pending.failures)
