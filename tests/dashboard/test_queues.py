"""The workers page: who polls which queue, since when nobody does, and what waits meanwhile."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.test import AsyncClient
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueueStats
from temporalio.api.workflowservice.v1 import DescribeTaskQueueResponse
from temporalio.worker import Worker

from dashboard.access import Viewer
from dashboard.live import cached_read
from dashboard.pages.workers import read as queues
from tests.dashboard.factories import CannedAnswers, start_run
from tests.dashboard.strange_worker import Strange
from tests.dashboard.test_strange_worker import PROGRAM
from tests.support import HTMX, eventually
from workers.client.connection import POLLER_ALIVE
from workers.client.errors import TemporalUnavailable
from workers.conf import conf
from workers.registry.registry import Queue, registry

VERA = Viewer("vera", frozenset({"viewer"}))


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Nothing is remembered of other tests, and each look is a new one."""
    cached_read.forget()
    queues._last_seen.clear()
    monkeypatch.setattr(queues, "FRESH", 0.0)


@pytest.fixture
def registered(queue, monkeypatch):
    """A queue that the console thinks its apps have registered: for workflows alone."""
    monkeypatch.setitem(registry.queues, queue, Queue(queue, workflows=(CannedAnswers,)))
    return queue


@pytest.fixture
def answers(client, monkeypatch):
    """What the server says of each queue is made by the test: `answers[(queue, kind)]`."""
    made: dict[tuple[str, str], DescribeTaskQueueResponse] = {}

    async def describe(client, queue, kind):
        return made.get((queue, kind), DescribeTaskQueueResponse())

    async def no_others(viewer):
        return []

    async def has_runs(viewer, names):
        return True

    monkeypatch.setattr(queues, "_describe", describe)
    monkeypatch.setattr(queues, "_read_others", no_others)
    monkeypatch.setattr(queues, "_has_runs", has_runs)
    return made


def answer(*seen_ago: float, backlog: int | None = None, oldest: float = 0) -> DescribeTaskQueueResponse:
    now, pollers = datetime.now(UTC), []
    for at, seconds in enumerate(seen_ago):
        stamp = Timestamp()
        stamp.FromDatetime(now - timedelta(seconds=seconds))
        pollers.append(PollerInfo(identity=f"worker-{at}", last_access_time=stamp))
    if backlog is None:
        return DescribeTaskQueueResponse(pollers=pollers)
    age = Duration()
    age.FromTimedelta(timedelta(seconds=oldest))
    stats = TaskQueueStats(approximate_backlog_count=backlog, approximate_backlog_age=age)
    return DescribeTaskQueueResponse(pollers=pollers, stats=stats)


async def state(name: str) -> queues.QueueState:
    found = (await queues.read(VERA)).value
    assert found
    return next(queue for queue in found.queues if queue.name == name)


@pytest.mark.parametrize(
    ("pollers", "backlog", "oldest", "look"),
    [
        ((1,), 0, 0, ("done", "Polled")),
        ((1,), 4, 2, ("run", "Working")),
        ((1,), 4, 31, ("wait", "Falling behind")),
        ((1,), None, 0, ("done", "Polled")),
        ((POLLER_ALIVE.total_seconds() + 1,), 4, 2, ("stop", "No worker")),
        ((POLLER_ALIVE.total_seconds() + 1, 1), 0, 0, ("done", "Polled")),
        ((), 0, 0, ("stop", "No worker")),
    ],
)
async def test_a_queue_in_a_word(answers, registered, pollers, backlog, oldest, look):
    answers[registered, "workflow"] = answer(*pollers, backlog=backlog, oldest=oldest)
    found = await state(registered)
    assert (found.look.tone, found.look.word) == look
    assert found.backlog == backlog


async def test_a_side_that_nothing_registered_needs_is_not_missed(answers, registered, monkeypatch):
    answers[registered, "workflow"] = answer(1)
    assert (await state(registered)).unpolled_sides == []
    monkeypatch.setitem(registry.queues, registered, Queue(registered, (CannedAnswers,), (print,)))
    found = await state(registered)
    assert found.look.word == "None for activity tasks"
    assert [side.kind for side in found.unpolled_sides] == ["activity"]


async def test_a_death_is_told_with_its_time_also_when_the_server_has_forgotten(answers, registered):
    answers[registered, "workflow"] = answer(200, 90)
    before = (await state(registered)).last
    assert before
    assert 89 < (datetime.now(UTC) - before).total_seconds() < 150
    answers[registered, "workflow"] = answer(backlog=3, oldest=60)
    found = await state(registered)
    assert (found.last, found.backlog, found.unpolled) == (before, 3, True)


async def test_queues_without_a_worker_come_first_and_are_counted(answers, registered):
    for name in registry.queues:
        for kind in queues.KINDS:
            answers[name, kind] = answer(1, backlog=1)
    answers[registered, "workflow"] = answer(90, backlog=2)
    answers[registered, "activity"] = answer(backlog=0)
    found = (await queues.read(VERA)).value
    assert found
    assert [queue.name for queue in found.unpolled] == [registered]
    assert found.queues[0].name == registered
    assert found.tasks_waiting == 2
    assert [(process.identity, process.alive) for process in found.processes] == [("worker-0", True)]
    assert cached_read.badges(VERA)["unpolled"] == 1


async def test_a_real_worker_is_seen_by_its_polls(client, registered):
    async with Worker(client, task_queue=registered, workflows=[CannedAnswers], identity="me@here:1"):
        found = await eventually(lambda: _polled(registered))
    assert found.look.tone in ("done", "run")
    assert [poller.identity for poller in found.sides[0].pollers] == ["me@here:1"]
    assert found.backlog == 0


async def _polled(name: str) -> queues.QueueState | None:
    found = await state(name)
    return found if found.sides[0].alive else None


async def test_a_killed_worker_shows_within_seventy_seconds(client, queue, monkeypatch):
    """The server cannot tell a dead worker from one that polls once a minute; the clock is moved on. It
    counts from the end of the last poll, which the server notes whenever it finds the connection closed."""
    monkeypatch.setitem(registry.queues, queue, Queue(queue, workflows=(Strange,)))
    process = subprocess.Popen([sys.executable, str(PROGRAM), conf().address, conf().namespace, queue])
    try:
        await eventually(lambda: _polled(queue))
    finally:
        process.kill()
        process.wait(15)
    killed = datetime.now(UTC)

    async def missing_after(passed: timedelta) -> queues.QueueState | None:
        """The queue when `passed` has gone by since the last poll; None where it has a worker by then."""
        last = max(side.last for side in (await state(queue)).sides if side.last)

        class Later(datetime):
            @classmethod
            def now(cls, tz=None):
                return last + passed

        with monkeypatch.context() as patch:
            patch.setattr(queues, "datetime", Later)
            found = await state(queue)
        return found if found.look.word == "No worker" else None

    found = await eventually(lambda: missing_after(POLLER_ALIVE))
    assert found.last < killed + timedelta(seconds=10)
    assert await missing_after(POLLER_ALIVE - timedelta(milliseconds=1)) is None


@pytest.fixture
def only(registered, monkeypatch):
    """The only queue that the apps have registered: it has neither runs nor workers."""
    monkeypatch.setattr(registry, "queues", {registered: registry.queues[registered]})
    return registered


@pytest.mark.django_db(transaction=True)
async def test_on_a_server_that_these_apps_do_not_use_no_worker_is_missed(client, only, viewer_user):
    found = (await queues.read(VERA)).value
    assert found
    assert not found.used
    (mine,) = (queue for queue in found.queues if queue.registered)
    assert (mine.look.tone, mine.look.word, mine.unpolled_sides) == ("rest", "Not used here", [])
    browser = AsyncClient()
    await browser.aforce_login(viewer_user)
    page = (await browser.get("/ns/default/workers/")).content.decode()
    assert "Not used here" in page
    assert f"<b>{only}</b>" not in page


async def test_one_run_on_their_queues_is_enough_to_miss_the_worker(client, only):
    await start_run(client, only, f"lonely-{only}")

    async def missed():
        found = await state(only)
        return found.look.word == "No worker"

    assert await eventually(missed)


async def test_the_queues_of_open_runs_are_looked_up_too(client, queue, monkeypatch, settings):
    settings.DASHBOARD = settings.DASHBOARD.model_copy(update={"tenancy": "attribute"})
    monkeypatch.setattr(queues, "FRESH_OTHERS", 0.0)
    viewer, other = (replace(VERA, tenant=f"{name}-{queue}") for name in ("mine", "theirs"))
    await start_run(client, queue, f"other-{queue}", tenant=str(viewer.tenant))

    async def shown():
        found = (await queues.read(viewer)).value
        return next((item for item in found.queues if item.name == queue), None) if found else None

    found = await eventually(shown)
    assert (found.look.word, found.registered) == ("No worker", False)
    assert [side.kind for side in found.unpolled_sides] == ["workflow"]
    seen = (await queues.read(other)).value
    assert seen
    assert queue not in [item.name for item in seen.queues]


@pytest.mark.django_db(transaction=True)
async def test_the_page_says_it_and_the_overview_too(answers, registered, viewer_user):
    browser = AsyncClient()
    await browser.aforce_login(viewer_user)
    answers[registered, "workflow"] = answer(80, backlog=2, oldest=75)
    page = unescape((await browser.get("/ns/default/workers/")).content.decode())
    assert f"<b>{registered}</b>: no worker polls this queue since" in page
    assert "2 tasks wait there, the first one for 1 min" in page
    assert f"runworker {registered}" in page
    assert (
        (await browser.get("/ns/default/workers/", headers=HTMX))
        .content.decode()
        .startswith('<div id="workers"')
    )

    async def told():
        text = unescape((await browser.get("/ns/default/")).content.decode())
        return text if f"<b>{registered}</b>" in text else None

    overview = await eventually(told)
    assert "2 tasks wait there." in overview
    assert "queues without a worker" in overview


@pytest.mark.django_db(transaction=True)
async def test_temporal_away_shows_what_was_last_seen(client, answers, registered, viewer_user, monkeypatch):
    browser = AsyncClient()
    await browser.aforce_login(viewer_user)
    answers[registered, "workflow"] = answer(1, backlog=7)
    await state(registered)

    async def away():
        raise TemporalUnavailable("Temporal cannot be reached.")

    monkeypatch.setattr("dashboard.access.get_client", away)
    text = (await browser.get("/ns/default/workers/")).content.decode()
    assert "Temporal cannot be reached." in text
    assert "what was last seen" in text
    assert registered in text
    assert "data-stale" in text
    cached_read.forget()
    assert "Temporal is unreachable" in (await browser.get("/ns/default/workers/")).content.decode()
