"""One process's gate to one dependency: which calls to admit, by a state of the breaker of a second ago."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
import uuid
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.common import QueryRejectCondition
from temporalio.service import RPCError, RPCStatusCode

from workers import counters
from workers.contracts import CircuitState, CircuitStatus, Query
from workers.patterns.breaker.config import BreakerConfig, Report
from workers.patterns.breaker.machine import Machine
from workers.patterns.breaker.names import breaker_id, circuit_open
from workers.patterns.breaker.reporter import Reporter

logger = logging.getLogger(__name__)

FRESH_SECONDS = 1.0
QUERY_WAIT = 0.5
"""Seconds that a call waits for the state; the query itself may take QUERY_TIMEOUT."""
QUERY_TIMEOUT = 1.5
LOCAL_STATE_TTL = 3.0
"""Seconds for which our own copy, moved by our own report, counts more than an older epoch of the breaker."""
POLL_INTERVAL = 1.0
MAX_POLL_INTERVAL = 60.0
HALF_OPEN_RETRY_SECONDS = 5.0
MAX_RETRY_SECONDS = 60.0
"""The longest delay of the retry of a refused call: one that no `resume` reaches comes back by itself."""


class Gate:
    """Lives on the event loop of the worker. `stale`: the breaker did not answer the last query.

    config: with which an ended breaker is started again; None: it is not, and calls are admitted.
    """

    def __init__(self, client: Client, dependency: str, config: BreakerConfig | None = None) -> None:
        self.stale = False
        self._client = client
        self._dependency = dependency
        self._restarts = config is not None
        self._reporter = Reporter(client, dependency, self._reported, config)
        self._machine: Machine | None = None
        self._gone = False
        self._queried_at = float("-inf")
        self._moved_at = float("-inf")
        self._query: asyncio.Task[None] | None = None
        self._granted: str | None = None
        self._used = ""
        self._refused = 0
        self._refused_again = asyncio.Event()
        self._polling: asyncio.Task[None] | None = None

    async def admit(
        self, lease: str, never_sent: bool, *, caller: str = "", held: bool = True
    ) -> tuple[int, str]:
        """Returns the epoch (0: not known) and the lease, when the call is the probe. Raises CircuitOpen.

        lease: what its workflow got by `resume`, or "". never_sent: see circuit_open. caller: the id of its
            workflow.
        held: its workflow waits for `resume` after a refusal; otherwise the refusal is retryable, and the
            server retries the activity.
        """
        await self._refresh()
        if lease and not self._admits(lease):
            await self._confirm()
        if self._machine and self._machine.claimable and not (lease and self._admits(lease)):
            lease = await self._claim(caller)
        machine = self._machine
        epoch = machine.epoch if machine else 0
        if lease and self._admits(lease):
            self._used = lease
            self._reporter.probe_started(lease)
            return epoch, lease
        if machine is None or machine.state is CircuitState.CLOSED:
            return epoch, ""
        counters.count("breaker_refusals", dependency=self._dependency)
        if not held:
            raise circuit_open(self._dependency, never_sent, self._retry_after(machine))
        self._note_refusal()
        raise circuit_open(self._dependency, never_sent)

    def record(self, epoch: int, *, failed: bool = False, error: str = "", lease: str = "") -> None:
        """Count a finished call; with `lease` it was the probe."""
        machine = self._machine
        if lease:
            self._reporter.probe_ended(epoch, lease, healthy=not failed, error=error)
        elif failed:
            self._reporter.record_failure(epoch, error, machine)
        else:
            in_a_row = machine is not None and machine.failure_count > 0
            self._reporter.record_success(epoch, ends_row=in_a_row)

    def give_back(self, lease: str) -> None:
        """The probe ended and says nothing of the dependency, so another call may have the lease."""
        self._reporter.probe_ended(0, lease, healthy=None)

    def _admits(self, lease: str) -> bool:
        """A lease is good for one call. Also when the breaker does not answer: a wasted one delays all."""
        if self._used == lease:
            return False
        forced = self._machine is not None and self._machine.forced
        return not forced if self.stale else self._granted == lease

    async def _claim(self, caller: str) -> str:
        """Ask the breaker for the lease, as no held workflow was found to probe. Returns it; "": another
        process was first. Our own copy grants it at once, so each process asks for one call at a time."""
        lease = uuid.uuid4().hex
        await self._reporter.claim(lease, caller)
        await self._confirm()
        return lease if self._granted == lease else ""

    def _retry_after(self, machine: Machine) -> timedelta:
        """When the next try makes sense: at the probe, or soon when one is under way. Spread by a quarter."""
        seconds = HALF_OPEN_RETRY_SECONDS
        if machine.state is CircuitState.OPEN:
            ends = machine.forced.until if machine.forced else machine.next_probe_at
            seconds = (ends - datetime.now(UTC)).total_seconds() if ends else MAX_RETRY_SECONDS
        seconds = min(max(seconds, POLL_INTERVAL), MAX_RETRY_SECONDS)
        return timedelta(seconds=seconds * random.uniform(1, 1.25))  # noqa: S311 (no secret)

    async def _refresh(self) -> None:
        querying = self._query is not None and not self._query.done()
        if not querying and time.monotonic() - self._queried_at < FRESH_SECONDS:
            return
        query = self._start_query()
        if not self.stale:  # while the breaker does not answer, one call a second queries, and none waits
            await asyncio.wait({query}, timeout=QUERY_WAIT)

    async def _confirm(self) -> None:
        """What the breaker did may be newer than the last query, so query anew, and wait for the answer."""
        if self._query is not None:
            await asyncio.wait({self._query})
        await asyncio.wait({self._start_query()})

    def _start_query(self) -> asyncio.Task[None]:
        if self._query is None or self._query.done():
            self._queried_at = time.monotonic()
            self._query = asyncio.create_task(self._read_state())
        return self._query

    async def _read_state(self) -> None:
        handle = self._client.get_workflow_handle(breaker_id(self._dependency))
        try:
            status: CircuitStatus = await handle.query(
                Query.CIRCUIT.value,
                result_type=CircuitStatus,
                reject_condition=QueryRejectCondition.NOT_OPEN,
                rpc_timeout=timedelta(seconds=QUERY_TIMEOUT),
            )
            self._adopt(status)
        except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError, ValueError) as error:
            gone = isinstance(error, WorkflowQueryRejectedError) or (
                isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND
            )
            if gone:
                self._is_gone()
            else:
                self._is_silent(error)
        else:
            self.stale = self._gone = False

    def _is_gone(self) -> None:
        """No breaker runs: calls are admitted, and a report starts it again where it is registered."""
        if not self._gone:
            then = "it is started again" if self._restarts else "it is not registered, so it is not started"
            logger.warning("No breaker of %s runs: calls are admitted; %s.", self._dependency, then)
        self._gone, self.stale = True, False
        self._machine = self._granted = None
        if self._restarts:
            self._reporter.flush()

    def _is_silent(self, error: Exception) -> None:
        if not self.stale:
            logger.warning(
                "The breaker of %s does not answer, its last state is kept: %s", self._dependency, error
            )
        self.stale = True

    def _adopt(self, status: CircuitStatus) -> None:
        """An older epoch than ours is the breaker's answer from before our last report, for a moment."""
        self._reporter.processes = max(1, status.processes)
        self._granted = status.probe_lease if status.state == CircuitState.HALF_OPEN else None
        ours = self._machine
        if ours is None or status.epoch >= ours.epoch or not self._is_ahead():
            self._machine = Machine.of(status)

    def _is_ahead(self) -> bool:
        return time.monotonic() - self._moved_at < LOCAL_STATE_TTL

    def _reported(self, report: Report) -> None:
        """Move our own copy by our own report at once, so as not to wait for the answer."""
        if self._machine is not None:
            epoch = self._machine.epoch
            self._machine.report(report, datetime.now(UTC))
            if self._machine.epoch != epoch:
                self._moved_at = time.monotonic()

    def _note_refusal(self) -> None:
        """The refused call's workflow will be held. See to it that the breaker learns of it once it can wake
        that workflow: it may have changed already, and nothing else would tell it."""
        self._refused += 1
        self._refused_again.set()
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll_until_actionable())

    async def _poll_until_actionable(self) -> None:
        """Query until the breaker, in a state from after the refusals, can wake their workflows."""
        unanswered = 0
        while self._refused:
            with contextlib.suppress(TimeoutError):
                interval = min(self._poll_interval() * 2 ** min(unanswered, 6), MAX_POLL_INTERVAL)
                await asyncio.wait_for(self._refused_again.wait(), interval)
            if self._refused_again.is_set():
                self._refused_again.clear()
                await asyncio.sleep(POLL_INTERVAL)
            refused = self._refused
            await self._confirm()
            unanswered = unanswered + 1 if self.stale else 0
            machine = self._machine
            if machine is None and not self.stale:
                self._refused = 0  # no breaker runs; a new one wakes all that is held
            elif machine is not None and not self.stale and not self._is_ahead() and _can_release(machine):
                self._refused -= refused
                self._reporter.record_refusals(refused)

    def _poll_interval(self) -> float:
        """Seconds until the state may be another; the state that refused is queried again soon anyway."""
        machine = self._machine
        if self._is_ahead():
            return LOCAL_STATE_TTL
        if self.stale or machine is None or machine.state is not CircuitState.OPEN:
            return POLL_INTERVAL
        if machine.next_probe_at is None:
            return MAX_POLL_INTERVAL
        seconds = (machine.next_probe_at - datetime.now(UTC)).total_seconds() + POLL_INTERVAL
        return min(max(seconds, POLL_INTERVAL), MAX_POLL_INTERVAL)


def _can_release(machine: Machine) -> bool:
    """Does this breaker wake held workflows: all, or one to probe?"""
    half_open = machine.state is CircuitState.HALF_OPEN and not machine.lease
    return half_open or machine.state is CircuitState.CLOSED
