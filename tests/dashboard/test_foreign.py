"""Workers with none of our code: whoever answers a contract gets its panel, half an answer draws what it
can, and those that answer none are shown all the same."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from html import unescape

import pytest
from django.test import AsyncClient
from django.urls import reverse
from temporalio.client import Client
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes
from temporalio.worker import Worker

from dashboard import extend
from dashboard.extend import Panel
from dashboard.live import cached_read
from dashboard.temporal_api import answers
from tests.dashboard.fake_workers import FULL, HALF, Foreign, Silent, refund
from tests.support import eventually
from workers.client.errors import NoAnswer
from workers.conf import conf

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def browser(client, viewer_user):
    cached_read.forget()
    made = AsyncClient()
    await made.aforce_login(viewer_user)
    return made


@pytest.fixture
async def foreign(client, queue):
    """A plain worker, without our interceptors, registry or launch; `await foreign(answers)` starts a
    run."""

    async def start(answers, *, busy=False):
        return await client.start_workflow(
            "Foreign", args=[answers, busy], id=f"foreign/{uuid.uuid4().hex[:8]}", task_queue=queue
        )

    async with Worker(client, task_queue=queue, workflows=[Foreign, Silent], activities=[refund]):
        yield start


async def until(browser, handle, *words: str) -> str:
    """The page, once it has these words: answers may come after the first paint."""
    url = reverse("run", args=["default", handle.id, handle.result_run_id])

    async def has():
        cached_read.forget()
        response = await browser.get(url)
        assert response.status_code == 200, response.content.decode()
        text = response.content.decode()
        return text if all(word in text for word in words) else None

    return await eventually(has)


async def test_a_workflow_that_answers_every_contract_gets_every_panel(browser, foreign):
    raw = await until(browser, await foreign(FULL), "It refunds, and then ends.", "Mara Lind", "levers")
    text = unescape(raw)

    for title in ("Saga", "Approval", "Breaker", "Progress", "State"):
        assert f'aria-label="{title}"' in text
    assert "Charge, €310.40" in text
    assert "point of no return" in text
    assert 'role="group" aria-label="Step Charge, €310.40"' in text
    assert '<span class="lane">Compensation: </span>Refund' in text
    assert "Requires 2 votes with the role finance." in text
    assert "One vote is missing" in text
    assert "opens at 5" in text
    assert "4 of 10" in text
    assert "&lt;b&gt;bold&lt;/b&gt;" in raw
    assert "from the workflow" in text


async def test_attempts_and_failures_are_joined_by_activity_id(browser, foreign):
    handle = await foreign(FULL, busy=True)

    text = unescape(await until(browser, handle, "503 Service Unavailable", "Waiting on"))

    assert re.search(r"running, attempt [1-9] of 9", text)
    assert re.search(r"Attempt [1-9] of 9", text)
    assert 'class="times"' in text


async def test_encoded_failures_are_told_in_their_words(client, queue, browser):
    sealed = DataConverter(failure_converter_class=DefaultFailureConverterWithEncodedAttributes)
    theirs = await Client.connect(conf().address, namespace=conf().namespace, data_converter=sealed)
    async with Worker(theirs, task_queue=queue, workflows=[Foreign], activities=[refund]):
        handle = await theirs.start_workflow(
            "Foreign", args=[FULL, True], id=f"sealed-{uuid.uuid4().hex[:8]}", task_queue=queue
        )
        text = await until(browser, handle, "503 Service Unavailable", "Waiting on")
    assert "Encoded failure" not in text


async def test_half_a_contract_is_drawn_as_far_as_it_goes(browser, foreign):
    text = unescape(await until(browser, await foreign(HALF), "levitating", "Unexpected answer"))

    assert "The answer is a list, where an object was expected." in text
    assert "steps.0.name" in text
    assert "Jon approved" in text
    assert "It could not read missing" in text or "missing" in text
    assert "0 of 0" in text
    assert f"{'x' * 300}…" in text
    assert "It is running." in text


async def test_a_workflow_without_contracts_has_everything_else(client, queue, browser, foreign):
    handle = await client.start_workflow(
        "Silent", "hello", id=f"silent-{uuid.uuid4().hex[:8]}", task_queue=queue
    )
    await handle.result()

    text = unescape(await until(browser, handle, "It has completed."))

    assert "hello" in text
    assert 'aria-label="Saga"' not in text
    assert "No worker answers" not in text


async def test_a_handler_that_raises_spoils_its_own_panel_only(browser, foreign):
    handle = await foreign({"get_progress": {"total": 3, "done": 1}, "get_saga_status": None})

    text = unescape(await until(browser, handle, "1 of 3", "The answer is empty"))

    assert "Facts" in text


@pytest.mark.parametrize(
    "broken",
    [
        Panel("get_progress", "Progress", "dashboard/panels/progress.html", draw=lambda run, answer: 1 / 0),
        Panel("get_progress", "Progress", "no/such/template.html"),
        Panel("get_progress", "Progress", "dashboard/panels/saga.html", draw=lambda run, answer: Explosive()),
    ],
    ids=["draw raises", "no template", "template raises"],
)
async def test_a_panel_that_cannot_be_drawn_says_so_and_the_others_stay(
    browser, foreign, broken, monkeypatch, caplog
):
    monkeypatch.setitem(extend._panels, "get_progress", broken)
    handle = await foreign({"get_progress": {"total": 3}, "get_state": {"cart": "full"}})

    text = unescape(await until(browser, handle, "This panel could not be drawn", "full"))

    assert 'aria-label="Progress"' in text
    assert 'aria-label="State"' in text
    assert "Panel Progress of foreign/" in caplog.text


class Explosive:
    """A view model that cannot be read."""

    @property
    def exposure(self) -> str:
        raise RuntimeError("no exposure")


async def test_the_list_shows_foreign_types_with_what_every_workflow_has(client, queue, browser, foreign):
    handle = await foreign({})

    async def listed():
        cached_read.forget()
        return handle.id in unescape(
            (await browser.get("/ns/default/workflows/", {"id": handle.id})).content.decode()
        )

    await eventually(listed)
    cached_read.forget()
    text = (await browser.get("/ns/default/workflows/", {"id": handle.id})).content.decode()
    assert '<th scope="col">Type</th>' in text
    assert '<th scope="col">Closed</th>' in text
    assert '<th scope="col">Stage</th>' not in text


async def test_the_first_paint_does_not_wait_for_a_slow_answer(client, queue, foreign, monkeypatch):
    handle = await foreign({"get_progress": {"total": 3, "done": 1}})
    real, gate = answers.query, asyncio.Event()

    async def slow(client, handle, name, **more):
        if name == "get_progress":
            await gate.wait()
        return await real(client, handle, name, **more)

    monkeypatch.setattr(answers, "query", slow)
    target = answers.QueryTarget(handle.id, handle.result_run_id, queue, f"slow {handle.id}", ())

    async def stuck():  # the server may take a moment to know that a worker polls
        began = time.monotonic()
        known = await answers.ask(client, target, 0.3)
        assert time.monotonic() - began < 1.5
        assert "get_progress" not in known.by_query
        return known if known.asking and not known.asking.done() and known.interface else None

    known = await eventually(stuck)
    gate.set()

    later = await eventually(lambda: known.by_query.get("get_progress"))

    assert later.value == {"total": 3, "done": 1}


async def test_an_answer_stays_with_its_age_when_nobody_answers_any_more(client, queue, foreign, monkeypatch):
    handle = await foreign({"get_progress": {"total": 3, "done": 1}})
    target = answers.QueryTarget(handle.id, handle.result_run_id, queue, f"gone {handle.id}", ())

    async def answered():  # the server may take a moment to know that a worker polls
        known = await answers.ask(client, target, 5)
        return known if "get_progress" in known.by_query else None

    known = await eventually(answered)
    first = known.by_query["get_progress"]

    async def nobody(*args, **more):
        raise NoAnswer("No worker answers.")

    monkeypatch.setattr(answers, "query", nobody)
    known.queried_at = 0.0
    again = await answers.ask(client, target, 5)

    assert again.no_answer == "No worker answers."
    assert (again.by_query["get_progress"].value, again.by_query["get_progress"].at) == (
        first.value,
        first.at,
    )


async def test_a_history_that_went_on_is_asked_again_at_once(client, queue, foreign, monkeypatch):
    handle = await foreign({"get_progress": {"total": 3, "done": 1}})
    real, asked_for = answers.query, []

    async def counted(client, handle, name, **more):
        asked_for.append(str(name))
        return await real(client, handle, name, **more)

    monkeypatch.setattr(answers, "query", counted)
    monkeypatch.setattr(answers, "FRESH", 3600.0)

    async def answered(events: int) -> int:
        asked_for.clear()
        known = await answers.ask(
            client,
            answers.QueryTarget(handle.id, handle.result_run_id, queue, f"on {handle.id}", (), events),
            5,
        )
        assert known.by_query["get_progress"].value == {"total": 3, "done": 1}
        return asked_for.count("get_progress")

    await eventually(lambda: has_answer(client, handle, queue))
    assert await answered(5) == 1
    assert await answered(5) == 0
    assert await answered(6) == 1


async def has_answer(client, handle, queue) -> bool:
    """The server may take a moment to know that a worker polls."""
    target = answers.QueryTarget(handle.id, handle.result_run_id, queue, f"on {handle.id}", (), 1)
    known = await answers.ask(client, target, 5)
    known.queried_at = 0.0
    return "get_progress" in known.by_query and not known.by_query["get_progress"].problem
