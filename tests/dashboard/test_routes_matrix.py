"""Every route and what each role gets there. A route without an entry fails, so nobody forgets to decide."""

from __future__ import annotations

import uuid

import pytest
from django.test import AsyncClient
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from dashboard.access import Viewer, may
from dashboard.extend import actions
from tests.dashboard.flows import Decidable, foreign_worker

pytestmark = pytest.mark.django_db(transaction=True)

PEOPLE = ("anonymous", "nobody", "viewer", "operator", "approver", "admin")
LOOK = (302, 403, 200, 200, 200, 200)
TABLE: dict[str, tuple[int, ...]] = {
    "overview": LOOK,
    "workflows": LOOK,
    "workflow": (302, 403, 302, 302, 302, 302),
    "run": LOOK,
    "verdict": (302, 403, 404, 404, 404, 404),
    "approvals": LOOK,
    "breakers": LOOK,
    "workers": LOOK,
    "audit": (302, 403, 403, 200, 403, 200),
    "login": (200, 302, 302, 302, 302, 302),
    "logout": (405,) * 6,
    # The tenant is chosen by a form.
    "tenant": (405,) * 6,
    "healthz": (200,) * 6,
    "readyz": (200,) * 6,
    # Short forms lead to the configured namespace, which asks for the login.
    "home": (302,) * 6,
    "short": (302,) * 6,
    "orders-api:openapi-json": (401, 200, 200, 200, 200, 200),
    "orders-api:read": (401, 403, 404, 404, 404, 404),
    # An order can only be posted there.
    "orders-api:create": (405,) * 6,
    "orders-api:api-root": (405,) * 6,
}
# Who may take an action; they answer POST only. An action without a line here fails.
APPROVERS, OPERATORS = {"approver", "admin"}, {"operator", "admin"}
ACTIONS: dict[str, set[str]] = {
    "approve": APPROVERS,
    "reject": APPROVERS,
    "delegate": APPROVERS,
    # A requester may be in any role.
    "withdraw": {"viewer", "operator", "approver", "admin"},
    "cancel": OPERATORS,
    "request_cancel": OPERATORS,
    "resolve_compensation": OPERATORS,
    "resolve": OPERATORS,
    "pause": OPERATORS,
    "unpause": OPERATORS,
    "force_open": OPERATORS,
    "force_close": OPERATORS,
    "release": OPERATORS,
    "probe": OPERATORS,
}


def routes(patterns, prefix=""):
    """Names of all routes with their namespaces; the Django admin asks for staff itself."""
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            yield f"{prefix}{pattern.name or pattern.pattern}"
        elif isinstance(pattern, URLResolver) and pattern.namespace != "admin":
            space = f"{pattern.namespace}:" if pattern.namespace else ""
            yield from routes(pattern.url_patterns, prefix + space)


def test_every_route_has_an_entry():
    assert set(routes(get_resolver().url_patterns)) == {*TABLE, "action"}


def test_every_action_has_an_entry_and_the_permission_that_it_states():
    people = {role: Viewer(role, frozenset({role})) for role in PEOPLE[1:]}
    registered = {
        name: {role for role, viewer in people.items() if not may(viewer, action.permission)}
        for name, action in actions().items()
    }
    assert registered == ACTIONS


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
        **{name: ["default"] for name in ("overview", "workflows", "approvals", "breakers", "workers")},
        "workflow": ["default", run.id],
        "run": ["default", run.id, run.first_execution_run_id],
        "verdict": ["default", run.id, run.first_execution_run_id, "approve", "none-such"],
        "short": ["workflows/"],
        "orders-api:read": ["none-such"],
    }
    found = {}
    for name in TABLE:
        url = reverse(name, args=arguments.get(name, []))
        found[name] = tuple([(await clients[who].get(url)).status_code for who in PEOPLE])
    assert found == TABLE


async def test_each_role_may_do_what_the_table_says(clients, run):
    """The form is empty, so whoever may gets as far as that: 422."""
    found, expected = {}, {}
    for name, able in ACTIONS.items():
        url = reverse("action", args=["default", run.id, run.first_execution_run_id, name])
        found[name] = {who: (await clients[who].post(url, {})).status_code for who in PEOPLE}
        expected[name] = {who: 422 if who in able else 401 if who == "anonymous" else 403 for who in PEOPLE}
    assert found == expected
    assert (await run.query(Decidable.get_approval_status))["votes"] == []


async def test_an_order_is_placed_by_who_is_permitted_only(clients):
    line = {"sku": "A-1", "quantity": 1, "unit_minor": 100}
    order = {
        "order_id": "matrix-1",
        "customer_id": "c",
        "customer_name": "C",
        "currency": "EUR",
        "lines": [line],
    }
    for who, status in zip(PEOPLE[:-1], (401, 403, 403, 403, 403), strict=True):
        answer = await clients[who].post("/api/orders/", {**order, "total_minor": 100}, "application/json")
        assert answer.status_code == status, (who, answer.content)


async def test_the_admin_is_for_staff(clients):
    expected = (302, 302, 302, 200, 200, 200)
    found = [(await clients[who].get("/admin/")).status_code for who in PEOPLE]
    assert tuple(found) == expected


@pytest.mark.parametrize("who", ["operator", "admin"])
async def test_nobody_writes_the_log_in_the_admin(clients, who):
    assert (await clients[who].get("/admin/dashboard/auditentry/")).status_code == 200
    assert (await clients[who].get("/admin/dashboard/auditentry/add/")).status_code == 403
