"""The approvals page: all that wait, the soonest first; the chosen one with policy, votes, both answers."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.test import AsyncClient

from dashboard import extend
from dashboard.access import Viewer
from dashboard.extend import Column
from dashboard.live import cached_read
from dashboard.pages.approvals import read as approvals
from tests.dashboard.factories import CannedAnswers, start_run
from tests.support import HTMX, eventually

URL = "/ns/default/approvals/"
ANNA = Viewer("anna", frozenset({"approver"}))


@pytest.fixture
def prefix(client):
    """Ids that no other test has; snapshots of other tests are forgotten."""
    cached_read.forget()
    return f"ask-{uuid.uuid4().hex[:8]}"


def question(**more) -> dict[str, object]:
    return {"approval": {"state": "pending", "missing": 1, "requester": "web shop", **more}}


async def item(workflow_id: str, viewer: Viewer = ANNA) -> approvals.Item | None:
    seen = await approvals.inbox(viewer)
    assert seen.value
    return seen.value.find(workflow_id)


async def chosen(workflow_id: str, viewer: Viewer = ANNA) -> approvals.Chosen | None:
    """The chosen item, once the workflow has answered."""
    found = await item(workflow_id, viewer)
    known = await approvals.chosen(viewer, found) if found else None
    return known if known and known.approval.value else None


async def test_the_soonest_deadline_comes_first(client, queue, prefix):
    now = datetime.now(UTC)
    for name, hours in (("late", 9), ("soon", 0.1), ("never", None), ("next", 2)):
        deadline = now + timedelta(hours=hours) if hours else None
        await start_run(client, queue, f"{prefix}-{name}", waiting_for="approval", deadline=deadline)

    async def ours():
        seen = await approvals.inbox(ANNA)
        found = [entry for entry in seen.value.items if entry.row.workflow_id.startswith(prefix)]
        return found if len(found) == 4 else None

    found = await eventually(ours)
    assert [entry.row.workflow_id.rpartition("-")[2] for entry in found] == ["soon", "next", "late", "never"]
    assert [entry.tone for entry in found] == ["stop", "wait", "wait", "rest"]
    assert found[-1].left is None


async def test_both_answers_are_told_by_the_line_and_the_saga(client, queue, worker, prefix):
    steps = [
        {"name": "Reserve", "status": "done", "compensation": {"name": "Release"}},
        {"name": "Charge", "status": "pending", "compensation": {"name": "Refund"}},
        {"name": "Note", "status": "done"},
    ]
    answers = {**question(), "saga": {"steps": steps}}

    async with worker(queue, workflows=[CannedAnswers]):
        await start_run(client, queue, prefix, answers=answers, waiting_for="approval", stage="approval")
        known = await eventually(lambda: _with_saga(prefix))
    assert [step.compensation.name for step in known.undone] == ["Release"]
    assert known.ahead == []  # a type without a line: what follows is not known, and nothing is made up


async def _with_saga(workflow_id: str) -> approvals.Chosen | None:
    known = await chosen(workflow_id)
    return known if known and known.undone is not None else None


@pytest.mark.parametrize(
    ("policy", "viewer", "why"),
    [
        ({}, ANNA, ""),
        ({"roles": ["finance"]}, ANNA, "This needs the role finance."),
        (
            {"self_approval": False},
            Viewer("Web Shop", frozenset({"approver"})),
            "The requester may not decide.",
        ),
        ({"quorum": 2}, Viewer("jon", frozenset({"approver"})), "You have voted already."),
        ({}, Viewer("vera", frozenset({"viewer"})), "Your role may not approve."),
    ],
)
async def test_a_button_that_would_be_refused_says_why(client, queue, worker, prefix, policy, viewer, why):
    answers = question(policy=policy, votes=[{"actor": "Jon", "approve": True}])
    async with worker(queue, workflows=[CannedAnswers]):
        await start_run(client, queue, prefix, answers=answers, waiting_for="approval")
        known = await eventually(lambda: chosen(prefix, viewer))
    approve = approvals.form(viewer, known).buttons[0]
    assert approve.action.name == "approve"
    assert approve.why.startswith(why) if why else approve.why == ""


@pytest.mark.django_db(transaction=True)
async def test_the_page_has_the_question_and_the_form(client, queue, worker, prefix, approver_user):
    browser = AsyncClient()
    await browser.aforce_login(approver_user)
    hostile = question(
        subject="<b onmouseover=x>Over the limit</b>", policy={"quorum": 2, "roles": ["approver"]}
    )
    async with worker(queue, workflows=[CannedAnswers]):
        await start_run(client, queue, f"{prefix}/a b", answers=hostile, waiting_for="approval")
        await eventually(lambda: chosen(f"{prefix}/a b"))
        page = (await browser.get(URL, {"w": f"{prefix}/a b"})).content.decode()
        inbox = (await browser.get(URL, {"w": f"{prefix}/a b"}, headers=HTMX)).content.decode()
        facts = (
            await browser.get(URL, {"w": f"{prefix}/a b", "part": "chosen"}, headers=HTMX)
        ).content.decode()
    assert "Requires 2 votes with the role approver." in page
    assert 'name="form_id"' in page
    assert "/action/approve/" in page
    assert "<b onmouseover" not in page
    assert 'aria-current="true"' in inbox
    assert "<form" not in inbox
    (version,) = re.findall(r'id="(decide-[0-9a-f]{12})" data-forms hx-morph-skip', page)
    assert version in facts, "the same offer has the same id, so the form that is shown stays"
    assert "Requires 2 votes" in facts


@pytest.mark.django_db(transaction=True)
async def test_what_does_not_wait_any_more_is_told(client, prefix, approver_user):
    browser = AsyncClient()
    await browser.aforce_login(approver_user)
    page = (await browser.get(URL, {"w": f"{prefix}<i>"})).content.decode()
    assert f"{prefix}&lt;i&gt; does not wait any more" in page
    facts = (await browser.get(URL, {"w": f"{prefix}", "part": "chosen"}, headers=HTMX)).content.decode()
    assert "does not wait any more" in facts
    assert 'id="decide-none" data-forms' in facts


async def test_no_worker_leaves_what_the_list_knows(client, queue, prefix, monkeypatch):
    column = Column("customer_name", "Customer", source="memo", beside_id=True)
    monkeypatch.setitem(extend.columns, ("", "customer_name"), column)
    await start_run(client, queue, prefix, waiting_for="approval", memo={"customer_name": "Aster"})
    found = await eventually(lambda: item(prefix))

    async def silent():
        known = await approvals.chosen(ANNA, found)
        return known if "worker" in known.approval.notice else None

    known = await eventually(silent)
    assert known.approval.value is None
    assert known.item.row.beside_id == ("Customer", "Aster")
    assert [button.why for button in approvals.form(ANNA, known).buttons] == ["", ""]


async def test_with_more_than_are_listed_the_soonest_is_there_and_all_are_counted(
    client, queue, prefix, monkeypatch
):
    monkeypatch.setattr(approvals, "MOST", 3)
    now = datetime.now(UTC)
    await start_run(
        client, queue, f"{prefix}-old", waiting_for="approval", deadline=now + timedelta(minutes=5)
    )
    for at in range(4):
        later = now + timedelta(days=9)
        await start_run(client, queue, f"{prefix}-{at}", waiting_for="approval", deadline=later)

    async def counted():
        seen = (await approvals.inbox(ANNA)).value
        return seen if seen.total.count >= 5 else None

    seen = await eventually(counted)
    assert seen.find(f"{prefix}-old")
    assert not seen.find(f"{prefix}-3")
    assert (await approvals.find(ANNA, seen, f"{prefix}-3")).row.workflow_id == f"{prefix}-3"
    assert await approvals.find(ANNA, seen, f"{prefix}-none") is None
