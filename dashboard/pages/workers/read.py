"""Task queues: which workers poll each, when they polled last, and how much waits.

The server keeps a poller for five minutes after its last poll; a live one comes back within a minute, so one
that has not polled for 70 s is gone. The registered queues are the platform's: all viewers share one read of
some seconds. Those of other open runs are read for each scope, as their names come from the runs.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse
from temporalio.client import Client

from dashboard import registrations
from dashboard.access import Viewer, client_for, for_viewer
from dashboard.live.cached_read import MAX_WAIT, Snapshot, cached_read, set_badges
from dashboard.query.query import with_scope
from dashboard.states import Look, look
from dashboard.temporal_api.lists import count, open_values
from dashboard.temporal_api.rows import moment
from workers.client.connection import POLLER_ALIVE
from workers.client.errors import rpc_errors
from workers.client.visibility import any_of
from workers.conf import conf
from workers.registry.registry import registry

FRESH = 3.0  # seconds
FRESH_OTHERS = 15.0  # seconds, of the queues of open runs
MOST_OTHERS = 20  # of them
AT_ONCE = 4  # calls, so that a page with many queues leaves the server to others
SLOW_SECONDS = 30  # a task that waited longer says that the workers do not keep up
REMEMBERED = 1000
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
    there. `last`: when a worker polled last, also by what this process remembers."""

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
    def unpolled(self) -> bool:
        """No worker polls, though something registered runs here."""
        return self.needed and not self.alive


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue with both of its sides. Not `registered`: it is known from open runs alone."""

    name: str
    sides: list[Side]
    registered: bool = True

    @property
    def unpolled_sides(self) -> list[Side]:
        """The sides that no worker polls."""
        return [side for side in self.sides if side.unpolled]

    @property
    def unpolled(self) -> bool:
        """No worker polls it at all."""
        return not any(side.alive for side in self.sides)

    @property
    def last(self) -> datetime | None:
        """When the last of the missing workers was seen; None when that is longer ago than is remembered."""
        return max((side.last for side in self.unpolled_sides if side.last), default=None)

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
    def look(self) -> Look:
        """How it is shown."""
        if self.unpolled:
            return look("unpolled" if self.unpolled_sides else "unused", "queue")
        if self.unpolled_sides:
            return Look("stop", f"None for {self.unpolled_sides[0].kind} tasks")
        if self.oldest > SLOW_SECONDS:
            return look("behind", "queue")
        return look("working" if self.backlog else "polled", "queue")


@dataclass(slots=True)
class Process:
    """A worker process with the queues that it polls."""

    identity: str
    queues: list[str] = field(default_factory=list)
    at: datetime | None = None
    alive: bool = False


@dataclass(frozen=True, slots=True)
class Queues:
    """All queues, those without a worker first. Not `used`: on this server no worker has polled a registered
    queue, and no run was started there."""

    queues: list[QueueState]
    used: bool = True

    @property
    def others_cut(self) -> int:
        """How many queues of open runs are shown, where that is the most that are looked up; else 0."""
        others = sum(not queue.registered for queue in self.queues)
        return others if others >= MOST_OTHERS else 0

    @property
    def unpolled(self) -> list[QueueState]:
        """Those where a worker is missing."""
        return [queue for queue in self.queues if queue.unpolled_sides]

    @property
    def last(self) -> datetime | None:
        """When the last of all missing workers was seen."""
        return max((queue.last for queue in self.unpolled if queue.last), default=None)

    @property
    def tasks_waiting(self) -> int:
        """Tasks that wait where a worker is missing."""
        return sum(queue.backlog or 0 for queue in self.unpolled)

    @property
    def live_workers(self) -> int:
        """Workers that poll."""
        return sum(process.alive for process in self.processes)

    @property
    def processes(self) -> list[Process]:
        """All workers that poll, or polled within five minutes; those that poll first."""
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


async def _described(client: Client, names: Sequence[str]) -> dict[str, dict[str, DescribeTaskQueueResponse]]:
    """What the server says of each queue, by name and kind."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(name: str, kind: str) -> DescribeTaskQueueResponse:
        async with gate:
            return await _describe(client, name, kind)

    found = iter(await asyncio.gather(*(one(name, kind) for name in names for kind in KINDS)))
    return {name: {kind: next(found) for kind in KINDS} for name in names}


async def _has_runs(viewer: Viewer, names: Sequence[str]) -> bool:
    """Whether any run, open or closed, is of these queues."""
    query = with_scope(for_viewer(viewer), f"TaskQueue IN {any_of([*names])}")
    return bool(await count(await client_for(viewer), query))


async def _read(viewer: Viewer) -> Queues:
    """The registered queues. A worker is missed only on a server that these apps use."""
    client = await client_for(viewer)
    registrations.load()
    answers = await _described(client, list(registry.queues))
    polled = any(answer.pollers for kinds in answers.values() for answer in kinds.values())
    seen = any((client.namespace, name, kind) in _last_seen for name in answers for kind in KINDS)
    used = not answers or polled or seen or await _has_runs(viewer, list(answers))

    def needed(name: str, kind: str) -> bool:
        known = registry.queues[name]
        return used and bool(known.workflows if kind == WORKFLOW else known.activities)

    return Queues(
        [
            QueueState(
                name, [_side(client, name, kind, of[kind], needed=needed(name, kind)) for kind in KINDS]
            )
            for name, of in answers.items()
        ],
        used,
    )


async def _read_others(viewer: Viewer) -> list[QueueState]:
    """Queues of open runs that no app has registered; a workflow worker is missed there."""
    client = await client_for(viewer)
    names = await open_values(client, for_viewer(viewer), "TaskQueue", list(registry.queues), MOST_OTHERS)
    answers = await _described(client, names)
    return [
        QueueState(
            name,
            [_side(client, name, kind, of[kind], needed=kind == WORKFLOW) for kind in KINDS],
            registered=False,
        )
        for name, of in answers.items()
    ]


async def read(viewer: Viewer, *, max_wait: float | None = None) -> Snapshot[Queues]:
    """All registered queues, and those of the open runs that this viewer sees, a few seconds old at most, or
    their last snapshot."""
    everybody = Viewer("", superuser=True, namespace=viewer.namespace)
    found, others = await asyncio.gather(
        cached_read("queues", everybody, lambda: _read(everybody), fresh=FRESH, max_wait=max_wait),
        cached_read(
            "other queues", viewer, lambda: _read_others(viewer), fresh=FRESH_OTHERS, max_wait=max_wait
        ),
    )
    if found.value is None:
        return found
    every = [*found.value.queues, *(others.value or ())]
    value = Queues(sorted(every, key=lambda queue: (not queue.unpolled_sides, queue.name)), found.value.used)
    set_badges(viewer, unpolled=len(value.unpolled))
    return Snapshot(value, found.at, found.notice)


async def latest(viewer: Viewer) -> Snapshot[Queues]:
    """The same for a page that is about something else, and does not wait for it."""
    return await read(viewer, max_wait=MAX_WAIT)
