"""Every route and what each role gets there. A route without an entry fails, so nobody forgets to decide."""

from __future__ import annotations

import uuid

import pytest
from django.test import AsyncClient
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from tests.dashboard.flows import Decidable, foreign_worker

pytestmark = pytest.mark.django_db(transaction=True)

PEOPLE = ("anonymous", "nobody", "viewer", "operator", "approver", "admin")
LOOK = (302, 403, 200, 200, 200, 200)
TABLE: dict[str, tuple[int, ...]] = {
    "overview": LOOK,
    "overview-region": LOOK,
    "workflows": LOOK,
    "workflows-region": LOOK,
    "workflow": (302, 403, 302, 302, 302, 302),
    "run": LOOK,
    "run-region": LOOK,
    "approvals": LOOK,
    "approvals-region": LOOK,
    "breakers": LOOK,
    "breakers-region": LOOK,
    "audit": (302, 403, 403, 200, 403, 200),
    "login": (200, 302, 302, 302, 302, 302),
    "logout": (405,) * 6,
    "healthz": (200,) * 6,
    "readyz": (200,) * 6,
}
# Acts answer POST only; a reason is missing, so whoever may gets as far as the form: 422.
ACTS: dict[str, tuple[int, ...]] = {
    "approve": (302, 403, 403, 403, 422, 422),
    "reject": (302, 403, 403, 403, 422, 422),
    "cancel": (302, 403, 403, 422, 403, 422),
    "resolve": (302, 403, 403, 422, 403, 422),
}
# Routes of Django's own and of the apps, which have tests of their own.
OTHERS = ("admin/", "api/")


def routes(patterns, prefix=""):
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if route.startswith(OTHERS):
            continue
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield pattern.name or route


def test_every_route_has_an_entry():
    assert set(routes(get_resolver().url_patterns)) == {*TABLE, "act"}


@pytest.fixture
async def clients(nobody_user, viewer_user, operator_user, approver_user, admin_user):
    users = (None, nobody_user, viewer_user, operator_user, approver_user, admin_user)
    made = {}
    for name, user in zip(PEOPLE, users, strict=True):
        made[name] = AsyncClient()
        if user:
            await made[name].aforce_login(user)
    return made


@pytest.fixture
async def run(client, queue):
    async with foreign_worker(client, queue):
        yield await client.start_workflow(Decidable.run, id=f"flow-{uuid.uuid4().hex}", task_queue=queue)


async def test_each_role_gets_what_the_table_says(clients, run):
    arguments = {
        "workflow": [run.id],
        "run": [run.id, run.first_execution_run_id],
        "run-region": [run.id, run.first_execution_run_id],
    }
    found = {}
    for name in TABLE:
        url = reverse(name, args=arguments.get(name, []))
        found[name] = tuple([(await clients[who].get(url)).status_code for who in PEOPLE])
    assert found == TABLE


async def test_each_role_may_act_as_the_table_says(clients, run):
    found = {}
    for act in ACTS:
        url = reverse("act", args=[run.id, run.first_execution_run_id, act])
        found[act] = tuple([(await clients[who].post(url, {})).status_code for who in PEOPLE])
    assert found == ACTS
    assert (await run.query(Decidable.get_approval_status))["votes"] == []


async def test_the_admin_is_for_staff(clients):
    expected = (302, 302, 302, 200, 200, 200)
    found = [(await clients[who].get("/admin/")).status_code for who in PEOPLE]
    assert tuple(found) == expected


@pytest.mark.parametrize("who", ["operator", "admin"])
async def test_nobody_writes_the_log_in_the_admin(clients, who):
    assert (await clients[who].get("/admin/dashboard/auditentry/")).status_code == 200
    assert (await clients[who].get("/admin/dashboard/auditentry/add/")).status_code == 403
