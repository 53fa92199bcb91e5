"""Task queues: who polls each, when they were last seen, and how much waits.

The server keeps a poller for five minutes after its last poll; a living one comes back within a minute, so
one that was not seen for 70 s is gone. Queues are the platform's: all viewers share one read of some seconds.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse
from temporalio.client import Client

from dashboard.access import Verb, Viewer, authorise
from dashboard.live.cached_read import PATIENCE, Seen, seen, set_badges
from dashboard.temporal_api.rows import moment
from workers.client.connection import POLLER_ALIVE, get_client
from workers.client.errors import rpc_errors
from workers.conf import conf
from workers.registry.registry import registry

FRESH = 3.0  # seconds
AT_ONCE = 4  # calls, so that a page with many queues leaves the server to others
SLOW_SECONDS = 30  # a task that waited longer says that the workers do not keep up
REMEMBERED = 1000
EVERYBODY = Viewer("", superuser=True)
WORKFLOW, ACTIVITY = "workflow", "activity"
KINDS = {
    WORKFLOW: TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    ACTIVITY: TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
}


@dataclass(frozen=True, slots=True)
class Poller:
    """A worker process at one queue, by the identity that it gives. `at`: its last poll."""

    identity: str
    at: datetime | None
    alive: bool


@dataclass(frozen=True, slots=True)
class Side:
    """The workflow or the activity tasks of a queue. `backlog` is approximate, None where the server does
    not count; `oldest` is how many seconds its first task has waited. `needed`: something registered runs
    there. `last`: when anybody was seen, also by what this process remembers."""

    kind: str
    pollers: list[Poller]
    backlog: int | None
    oldest: float
    needed: bool
    last: datetime | None

    @property
    def alive(self) -> int:
        return sum(poller.alive for poller in self.pollers)

    @property
    def dead(self) -> bool:
        """Nobody polls, though somebody should."""
        return self.needed and not self.alive


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue with both of its sides."""

    name: str
    sides: list[Side]

    @property
    def dead(self) -> list[Side]:
        """The sides that nobody polls."""
        return [side for side in self.sides if side.dead]

    @property
    def unpolled(self) -> bool:
        """No worker at all."""
        return not any(side.alive for side in self.sides)

    @property
    def last(self) -> datetime | None:
        """When the last of those who are missed was seen; None when that is longer ago than anybody
        remembers."""
        return max((side.last for side in self.dead if side.last), default=None)

    @property
    def backlog(self) -> int | None:
        """Tasks that wait, of both kinds; None where the server does not count."""
        known = [side.backlog for side in self.sides if side.backlog is not None]
        return sum(known) if known else None

    @property
    def oldest(self) -> float:
        """Seconds that the first task has waited."""
        return max(side.oldest for side in self.sides)

    @property
    def look(self) -> tuple[str, str]:
        """Colour and word."""
        if self.unpolled:
            return "stop", "No worker"
        if self.dead:
            return "stop", f"None for {self.dead[0].kind} tasks"
        if self.oldest > SLOW_SECONDS:
            return "wait", "Falling behind"
        return ("run", "Working") if self.backlog else ("done", "Polled")


@dataclass(slots=True)
class Process:
    """A worker process with the queues that it polls."""

    identity: str
    queues: list[str] = field(default_factory=list)
    at: datetime | None = None
    alive: bool = False


@dataclass(frozen=True, slots=True)
class Queues:
    """All queues, those without a worker first."""

    queues: list[QueueState]

    @property
    def dead(self) -> list[QueueState]:
        """Those where a worker is missing."""
        return [queue for queue in self.queues if queue.dead]

    @property
    def last(self) -> datetime | None:
        """When the last of all that are missed was seen."""
        return max((queue.last for queue in self.dead if queue.last), default=None)

    @property
    def stranded(self) -> int:
        """Tasks that wait where a worker is missing."""
        return sum(queue.backlog or 0 for queue in self.dead)

    @property
    def living(self) -> int:
        """Workers that poll."""
        return sum(process.alive for process in self.processes)

    @property
    def processes(self) -> list[Process]:
        """Everybody who polls or polled within five minutes, the living first."""
        found: dict[str, Process] = {}
        for queue in self.queues:
            for poller in (poller for side in queue.sides for poller in side.pollers):
                process = found.setdefault(poller.identity, Process(poller.identity))
                if queue.name not in process.queues:
                    process.queues.append(queue.name)
                process.alive |= poller.alive
                process.at = max(filter(None, (process.at, poller.at)), default=None)
        return sorted(found.values(), key=lambda process: (not process.alive, process.identity))


_last_seen: OrderedDict[tuple[str, str, str], datetime] = OrderedDict()


def _remember(client: Client, queue: str, kind: str, at: Iterable[datetime | None]) -> datetime | None:
    key = (client.namespace, queue, kind)
    known = [moment for moment in (*at, _last_seen.get(key)) if moment]
    if known:
        _last_seen[key] = max(known)
        while len(_last_seen) > REMEMBERED:
            _last_seen.popitem(last=False)
    return _last_seen.get(key)


async def _describe(client: Client, queue: str, kind: str) -> DescribeTaskQueueResponse:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=KINDS[kind],
        report_stats=True,
    )
    with rpc_errors():
        return await client.workflow_service.describe_task_queue(
            request, retry=True, timeout=timedelta(seconds=conf().rpc_timeout)
        )


def _side(client: Client, queue: str, kind: str, answer: DescribeTaskQueueResponse, *, needed: bool) -> Side:
    alive_since = datetime.now(UTC) - POLLER_ALIVE
    found = [(item.identity, moment(item.last_access_time)) for item in answer.pollers]
    pollers = [Poller(name, at, bool(at and at > alive_since)) for name, at in found]
    counted, stats = answer.HasField("stats"), answer.stats
    return Side(
        kind,
        pollers,
        stats.approximate_backlog_count if counted else None,
        stats.approximate_backlog_age.ToTimedelta().total_seconds() if counted else 0.0,
        needed,
        _remember(client, queue, kind, (poller.at for poller in pollers)),
    )


async def _read() -> Queues:
    client, gate = await get_client(), asyncio.Semaphore(AT_ONCE)
    registry.load()
    names = list(registry.queues)

    async def side(name: str, kind: str) -> Side:
        known = registry.queues.get(name)
        needed = bool(known and (known.workflows if kind == WORKFLOW else known.activities))
        async with gate:
            answer = await _describe(client, name, kind)
        return _side(client, name, kind, answer, needed=needed)

    sides = await asyncio.gather(*(side(name, kind) for name in names for kind in KINDS))
    found = [QueueState(name, list(sides[2 * at : 2 * at + 2])) for at, name in enumerate(names)]
    return Queues(sorted(found, key=lambda queue: (not queue.dead, queue.name)))


async def read(viewer: Viewer, *, patience: float | None = None) -> Seen[Queues]:
    """All registered queues, a few seconds old at most, or as they were last seen."""
    authorise(viewer, Verb.VIEW)
    found = await seen("queues", EVERYBODY, _read, fresh=FRESH, patience=patience)
    if found.value:
        set_badges(viewer, unpolled=len(found.value.dead))
    return found


async def glance(viewer: Viewer) -> Seen[Queues]:
    """The same for a page that is about something else, and does not wait for it."""
    return await read(viewer, patience=PATIENCE)
