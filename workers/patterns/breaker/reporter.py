"""What one process tells a breaker: counted calls, seldom enough for a history, soon enough to open it.

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
from workers.patterns.breaker.names import Machine, Report, breaker_id

logger = logging.getLogger(__name__)

REPORT_SECONDS = 1.0
SHARE_SECONDS = 1.25  # between reports of any two processes, on average
SUSPECT_SECONDS = 2.0
QUIET_SECONDS = 30.0  # successes alone are statistics
BEGAN_SECONDS = 2.0  # a probe that takes longer says that it has begun
SENDING_TRIES = 3
LONGEST_ERROR = 500


class Reporter:
    """Lives on the event loop of the worker. `moved` is told each report as it leaves.

    `processes`: how many share the breaker, by its own word.
    """

    def __init__(self, client: Client, dependency: str, moved: Callable[[Report], None]) -> None:
        self.processes = 1
        self._client = client
        self._dependency = dependency
        self._moved = moved
        self._process = uuid.uuid4().hex
        self._pending = Report()
        self._seq = 0
        # Processes that started together need not report together.
        self._spread = random.uniform(0.8, 1.2)  # noqa: S311 (no secret)
        self._due: asyncio.TimerHandle | None = None
        self._due_at = float("inf")
        self._reported_at = float("-inf")
        self._worked_at = float("-inf")
        self._probing: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()

    def worked(self, epoch: int, *, counted: bool) -> None:
        """A call succeeded. `counted`: the breaker counts failures in a row, which this ends."""
        loop = asyncio.get_running_loop()
        self._worked_at = loop.time()
        pending = self._of(epoch)
        pending.calls += 1
        pending.tail = 0
        self._by(self._reported_at + (self._pace() if counted or pending.failures else self._quiet()), loop)

    def failed(self, epoch: int, error: str, machine: Machine | None) -> None:
        """A call failed. Reported at once when that opens the breaker, as far as this process can tell."""
        pending = self._of(epoch)
        pending.calls += 1
        pending.failures += 1
        pending.tail += 1
        pending.last_error = error[:LONGEST_ERROR]
        if _tips(pending, machine):
            self.flush()
        else:
            self._by(self._reported_at + min(self._pace(), SUSPECT_SECONDS), asyncio.get_running_loop())

    def refused(self, times: int) -> None:
        """Calls were refused, and the breaker can do something for who made them."""
        self._pending.refused += times
        self._by(self._reported_at + REPORT_SECONDS, asyncio.get_running_loop())

    def probing(self, lease: str) -> None:
        """The probe is under way; `probed` ends it."""
        later = asyncio.get_running_loop().call_later
        self._probing = later(BEGAN_SECONDS, lambda: self._tell(lease, began=True))

    def probed(self, epoch: int, lease: str, *, healthy: bool | None, error: str = "") -> None:
        """What the probe found; None: nothing, and somebody else may have the lease."""
        if self._probing:
            self._probing.cancel()
        if healthy is not None:
            pending = self._of(epoch)
            pending.calls += 1
            pending.failures += not healthy
            pending.tail = 0 if healthy else pending.tail + 1
            pending.last_error = error[:LONGEST_ERROR]
        self._tell(lease, healthy=healthy)

    def flush(self) -> None:
        """Report what is pending now."""
        if self._due:
            self._due.cancel()
        self._due, self._due_at = None, float("inf")
        self._reported_at = asyncio.get_running_loop().time()
        self._seq += 1
        report = self._pending.model_copy(update={"process": self._process, "seq": self._seq})
        self._pending = Report(epoch=report.epoch)
        self._moved(report)
        self._dispatch(report)

    def _tell(self, lease: str, *, healthy: bool | None = None, began: bool = False) -> None:
        self._pending.lease, self._pending.healthy, self._pending.began = lease, healthy, began
        self.flush()

    def _of(self, epoch: int) -> Report:
        """What is pending of that epoch: calls that were admitted in different ones are told apart."""
        if epoch != self._pending.epoch:
            if self._pending.calls:
                self.flush()
            self._pending.epoch = epoch
        return self._pending

    def _pace(self) -> float:
        return REPORT_SECONDS if self.processes == 1 else self.processes * SHARE_SECONDS * self._spread

    def _quiet(self) -> float:
        return max(QUIET_SECONDS * self._spread, self._pace())

    def _by(self, at: float, loop: asyncio.AbstractEventLoop) -> None:
        if at < self._due_at:
            if self._due:
                self._due.cancel()
            at = max(at, loop.time())
            self._due_at, self._due = at, loop.call_at(at, self._fire)

    def _fire(self) -> None:
        """Report, unless these are failures among successes, which can wait for this process's turn."""
        loop, pending = asyncio.get_running_loop(), self._pending
        turn = self._reported_at + self._pace()
        alone = pending.tail and loop.time() - self._worked_at >= REPORT_SECONDS
        if alone or pending.refused or not pending.failures or loop.time() >= turn:
            self.flush()
        else:
            self._due_at, self._due = turn, loop.call_at(turn, self._fire)

    def _dispatch(self, report: Report) -> None:
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


def _tips(pending: Report, machine: Machine | None) -> bool:
    """Would these calls by themselves, with the row that the breaker counts, open it?"""
    if machine is None or machine.state is not CircuitState.CLOSED or machine.forced:
        return False
    if pending.epoch not in (0, machine.epoch):
        return False
    before = machine.failure_count if pending.calls == pending.failures else 0
    in_a_row = before + pending.tail >= machine.config.threshold
    return in_a_row or machine.config.failing(pending.calls, pending.failures)
