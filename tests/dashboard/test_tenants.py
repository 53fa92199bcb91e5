"""Two tenants on one server: neither sees, counts, queries or changes what the other has."""

from __future__ import annotations

import contextlib
import logging
import re
import uuid
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import AsyncClient
from django.urls import reverse
from temporalio.api.workflowservice.v1 import ListWorkflowExecutionsRequest
from temporalio.client import Client
from temporalio.service import RPCError

import dashboard
from dashboard import roles
from dashboard.access import Scope, Viewer
from dashboard.audit.log import append
from dashboard.conf import conf
from dashboard.live import cached_read
from dashboard.models import AuditEntry
from dashboard.pages.breakers import read as breakers
from dashboard.query.grammar import rebuild
from dashboard.query.query import CompiledQuery, Filter, Refused, ScopedQuery, compile_filter
from dashboard.temporal_api.answers import BREAKER, QueryTarget, ask
from dashboard.temporal_api.lists import count, list_page, list_rows
from dashboard.temporal_api.rows import attributes_of
from devtools.management.commands.demo_users import person
from tests.dashboard.factories import CannedAnswers, start_run
from tests.dashboard.query_texts import ESCAPES, IDENTIFIER, Texts
from tests.dashboard.signed_forms import form_id
from tests.support import HTMX, eventually
from workers.client.errors import BadQuery
from workers.client.visibility import Unusable, both

DASHBOARD = Path(dashboard.__file__).parent
ACME = Scope("default", ("acme",))
TEXTS, SENT = 10_000, 400
ROLES = frozenset({"operator"})


@pytest.fixture(autouse=True)
def tenants(settings):
    """With tenants, and without the snapshots of other tests."""
    settings.DASHBOARD = conf().model_copy(update={"tenancy": "attribute"})
    cached_read.forget()


@pytest.fixture
async def mark(client: Client, queue: str) -> str:
    """The start of the ids of two runs that wait, `<mark>-acme` and `<mark>-rival`, each of that tenant."""
    made = f"t{uuid.uuid4().hex[:8]}"
    for tenant in ("acme", "rival"):
        await start_run(
            client, queue, f"{made}-{tenant}", tenant=tenant, memo={"customer_name": f"of {tenant}"}
        )

    async def both_listed() -> bool:
        return (await client.count_workflows(f"WorkflowId STARTS_WITH '{made}'")).count == 2

    await eventually(both_listed)
    return made


def test_one_module_of_the_console_lists_and_counts():
    """So that no read can leave out the scope; reconciliation compares all runs with the audit, and shows
    them to no viewer."""
    calls = re.compile(r"\b(list|count|scan)_workflow(s|_executions)\b|list_(open|closed)_workflow")
    sources = DASHBOARD.rglob("*.py")
    found = {str(path.relative_to(DASHBOARD)) for path in sources if calls.search(path.read_text())}
    assert found == {"temporal_api/lists.py", "audit/reconcile.py"}


async def tenants_listed(client: Client, query: str) -> list[str]:
    """The tenants of all rows that the server itself lists for a text, before any check of ours."""
    request = ListWorkflowExecutionsRequest(namespace=client.namespace, query=query, page_size=1000)
    answer = await client.workflow_service.list_workflow_executions(request, retry=True)
    rows = (attributes_of(info.search_attributes.indexed_fields) for info in answer.executions)
    return [str(attributes.get("TenantId")) for attributes in rows]


async def test_the_escapes_do_work_on_the_server_unless_the_text_is_written_out_again(client, mark):
    worked = []
    for text in (*ESCAPES, IDENTIFIER):
        raw = text.replace("{0}", mark)
        with pytest.raises(Unusable):
            rebuild(raw)
        try:
            found = await tenants_listed(client, both(ACME.clause, both("WorkflowId != ''", raw)))
        except RPCError:
            continue
        worked.append("rival" in found)
    assert worked.count(True) >= 2


async def test_ten_thousand_texts_never_show_a_row_of_the_other_tenant(client, mark):
    """All are parsed; of those that pass, the server gets hundreds, and its own rows and counts are looked
    at."""
    texts, viewer, passed = Texts(mark, seed=8), Viewer("ann", ROLES, "acme"), list[tuple[str, ScopedQuery]]()
    for _ in range(TEXTS):
        text = texts.one()
        with contextlib.suppress(Refused):
            passed.append((text, compile_filter(Filter(raw=text), viewer, {}).scoped))
    assert len(passed) > SENT
    answered = shown = 0
    for text, query in passed[:: len(passed) // SENT]:
        assert query.scope == ACME
        try:
            found = await tenants_listed(client, query.text)
            counted = await count(client, query)
        except (RPCError, BadQuery):  # an attribute that is none, or a value that does not fit it
            continue
        assert set(found) <= {"acme"}, text
        assert counted == len(found), text
        answered, shown = answered + 1, shown + len(found)
    assert answered > SENT / 4
    assert shown > 0


async def test_a_row_of_another_tenant_is_dropped_and_logged(client, mark, caplog):
    """Were the clause ever to fail, the rows are checked again."""
    wide = ScopedQuery(ACME, f"WorkflowId STARTS_WITH '{mark}'")
    with caplog.at_level(logging.ERROR, "dashboard.temporal_api.lists"):
        rows, complete = await list_rows(client, wide, 10)
        page, _ = await list_page(client, CompiledQuery(wide, "", wide), 10, b"")
    assert [row.workflow_id for row in rows] == [row.workflow_id for row in page] == [f"{mark}-acme"]
    assert complete
    assert caplog.text.count("Dropped 1 runs of other tenants than ('acme',)") == 2


async def test_a_shared_breaker_shows_its_state_and_no_text(client, queue, worker):
    dependency = f"dep-{uuid.uuid4().hex[:8]}"
    secret = "Charging Jane Roe failed"
    answer = {
        "state": "OPEN",
        "dependency": dependency,
        "threshold": 5,
        "failure_count": 5,
        "last_error": secret,
        "probe_holder": f"rival~order-{secret}",
        "forced": {"state": "OPEN", "by": "root", "reason": secret},
        "transitions": [{"at": "2026-11-21T03:00:00Z", "state": "OPEN", "why": secret}],
    }
    breaker = f"breaker-{dependency}"
    viewers = {
        "own": Viewer("ann", ROLES, "acme"),
        "root": Viewer("root", superuser=True),
    }

    async def card(viewer: Viewer) -> breakers.Breaker | None:
        seen = await breakers.read(viewer)
        cards = seen.value.cards if seen.value else []
        return next((item for item in cards if item.row.workflow_id == breaker and item.answer.value), None)

    async with worker(queue, workflows=[CannedAnswers]):
        await start_run(client, queue, breaker, answers={"circuit": answer}, circuit_state="OPEN")
        # The type that is shared; the worker of the test has it under another name.
        breakers_type, breakers.BREAKER_TYPE = breakers.BREAKER_TYPE, "CannedAnswers"
        try:
            own = await eventually(lambda: card(viewers["own"]))
            root = await eventually(lambda: card(viewers["root"]))
        finally:
            breakers.BREAKER_TYPE = breakers_type
        held = await start_run(client, queue, f"held-{dependency}", tenant="acme", answers={})
        target = QueryTarget(
            held.id,
            held.first_execution_run_id,
            queue,
            held.id,
            ("breaker", f"breaker:{dependency}"),
            1,
            "acme",
        )
        answers = await ask(client, target, 10)
    assert (own.shared, own.view.word, own.status.failure_count) == (True, "Forced open", 5)
    assert secret not in repr(own.status)
    assert (root.shared, root.status.last_error) == (False, secret)
    assert answers.by_query[BREAKER].value["failure_count"] == 5
    assert secret not in repr(answers.by_query[BREAKER])


async def test_the_breaker_of_another_tenant_is_not_queried(client, queue, worker):
    """Whatever a workflow writes into WaitingFor."""
    dependency = f"dep-{uuid.uuid4().hex[:8]}"
    async with worker(queue, workflows=[CannedAnswers]):
        answers = {"circuit": {"state": "OPEN", "last_error": "of the rival"}}
        await start_run(client, queue, f"breaker-{dependency}", answers=answers, tenant="rival")
        held = await start_run(client, queue, f"held-{dependency}", tenant="acme", answers={})
        waiting = ("breaker", f"breaker:{dependency}")
        run_id = held.first_execution_run_id
        found = await ask(client, QueryTarget(held.id, run_id, queue, held.id, waiting, 1, "acme"), 10)
    assert found.by_query[BREAKER].value is None
    assert found.by_query[BREAKER].problem == "There is no such workflow."


async def signed_in(name: str, *groups: str, superuser: bool = False) -> AsyncClient:
    await sync_to_async(roles.ensure)()
    user, _ = await sync_to_async(person)(name, groups)
    user.is_superuser = superuser
    await user.asave()
    browser = AsyncClient()
    await browser.aforce_login(user)
    return browser


def without_chance(text: str, workflow_id: str, run_id: str) -> str:
    """A page without what differs at each request, and without the ids."""
    text = re.sub(r'("X-CSRFToken": "|csrfmiddlewaretoken" value=")[A-Za-z0-9]+', r"\1", text)
    text = re.sub(r'(name="form_id" value=")[^"]+', r"\1", text)  # signed for the ids
    return text.replace(workflow_id, "ID").replace(run_id, "RUN")


@pytest.mark.django_db(transaction=True)
async def test_a_run_of_another_tenant_and_one_that_is_missing_are_the_same_page(client, mark, monkeypatch):
    browser, missing = await signed_in("ann", "operator", "approver", "tenant:acme"), f"{mark}-none"
    other = client.get_workflow_handle(f"{mark}-rival")
    other_run = (await other.describe()).run_id
    run_of = {f"{mark}-rival": other_run, missing: str(uuid.uuid4())}
    queried = []

    async def query(*arguments, **more):
        queried.append(arguments)

    for module in ("dashboard.temporal_api.decisions", "dashboard.temporal_api.answers"):
        monkeypatch.setattr(f"{module}.query", query)
    pages: dict[str, list[tuple[int, str]]] = {}
    unlike: dict[str, list[tuple[int, bool]]] = {name: [] for name in run_of}
    for workflow_id, run_id in run_of.items():
        run = reverse("run", args=["default", workflow_id, run_id])
        answers = [
            await browser.get(reverse("workflow", args=["default", workflow_id])),
            await browser.get(run),
            await browser.get(run, headers=HTMX),
        ]
        for action in ("cancel", "approve", "request_cancel", "resolve", "force_open"):
            signed = form_id("ann", workflow_id, run_id, nonce="1")
            answers.append(await browser.post(f"{run}action/{action}/", {"reason": "why", "form_id": signed}))
            forged = await browser.post(f"{run}action/{action}/", {"reason": "why"})
            unlike[workflow_id].append((forged.status_code, "made for another person" in str(forged.content)))
        pages[workflow_id] = [
            (answer.status_code, without_chance(answer.content.decode(), workflow_id, run_id))
            for answer in answers
        ]
    assert pages[f"{mark}-rival"] == pages[missing]
    # 422: forms with fields that are missing here; they are read before any run is.
    assert [status for status, _ in pages[missing]] == [404] * 6 + [422, 422]
    assert unlike[f"{mark}-rival"] == unlike[missing]
    assert {status for status, _ in unlike[missing]} == {422}
    assert queried == []
    rows = AuditEntry.objects.filter(workflow_id__in=run_of)
    refused = {name: {row.outcome async for row in rows.filter(workflow_id=name)} for name in run_of}
    assert refused[f"{mark}-rival"] == refused[missing]
    assert (await browser.get(reverse("workflow", args=["default", f"{mark}-acme"]))).status_code == 302


@pytest.mark.django_db(transaction=True)
async def test_who_belongs_to_two_tenants_chooses_one(client, mark):
    browser = await signed_in("tim", "operator", "tenant:acme", "tenant:rival")
    address = reverse("workflows", args=["default"]) + f"?id={mark}"

    before = await browser.get(address)
    text = before.content.decode()
    assert before.status_code == 403
    assert "Your account belongs to the tenants acme, rival. Choose one of them." in text
    assert "<h1>Choose a tenant</h1>" in text
    assert f'<form class="pad row" method="post" action="{reverse("tenant")}">' in text

    for chosen, other in (("acme", "rival"), ("rival", "acme")):
        answer = await browser.post(reverse("tenant"), {"tenant": chosen})
        assert (answer.status_code, answer["Location"]) == (302, reverse("overview", args=["default"]))
        text = (await browser.get(address)).content.decode()
        assert f"{mark}-{chosen}" in text
        assert f"{mark}-{other}" not in text
        assert f'<span class="small env" title="Tenant {chosen}">{chosen}</span>' in text
        assert f"<option selected>{chosen}</option>" in text
    assert (await browser.post(reverse("tenant"), {"tenant": "third"})).status_code == 403

    # Another page that is still open, drawn for the tenant before, is read again as a whole.
    assert '"X-Tenant": "rival"' in text
    stale = await browser.get(address, headers={**HTMX, "X-Tenant": "acme"})
    assert (stale["HX-Refresh"], stale.content) == ("true", b"")
    fresh = await browser.get(address, headers={**HTMX, "X-Tenant": "rival"})
    assert f"{mark}-rival" in fresh.content.decode()

    user = await User.objects.aget(username="tim")
    await user.groups.aremove(await Group.objects.aget(name="tenant:rival"))
    text = (await browser.get(address)).content.decode()
    assert f"{mark}-acme" in text
    assert f"{mark}-rival" not in text
    assert "<option" not in text[: text.index("<main")]


@pytest.mark.django_db(transaction=True)
async def test_the_tenant_of_the_platform_has_no_members(client, mark, queue, capsys):
    browser = await signed_in("pat", "operator", "tenant:default", "tenant:a b")
    answer = await browser.get(reverse("workflows", args=["default"]))
    assert answer.status_code == 403
    assert "Your account belongs to no tenant." in answer.content.decode()

    await sync_to_async(call_command)("check", databases=["default"])
    said = capsys.readouterr().err
    assert "The group 'tenant:default' gives its members no tenant." in said
    assert "The group 'tenant:a b' gives its members no tenant." in said


ACCOUNTS = ("auth/user", "auth/group", "axes/accessattempt", "workers/featureflag", "workers/tenantactivity")


@pytest.mark.django_db(transaction=True)
async def test_with_tenants_accounts_and_switches_are_for_superusers(settings, client):
    admin, root = await signed_in("ada", "admin", "tenant:acme"), await signed_in("root", superuser=True)
    await User.objects.filter(username="root").aupdate(is_staff=True)
    me = await User.objects.aget(username="ada")
    change = reverse("admin:auth_user_change", args=[me.pk])
    for name in ACCOUNTS:
        assert (await admin.get(f"/admin/{name}/")).status_code == 403, name
        assert (await root.get(f"/admin/{name}/")).status_code == 200, name
    assert (await admin.post(change, {"username": "ada", "is_superuser": "on"})).status_code == 403
    await me.arefresh_from_db()
    assert not me.is_superuser
    assert not await me.ahas_perm("auth.change_user")

    settings.DASHBOARD = conf().model_copy(update={"tenancy": "off"})
    assert (await admin.get(change)).status_code == 200


@pytest.mark.django_db(transaction=True)
async def test_the_audit_of_another_tenant_is_hidden_in_the_console_and_in_the_admin(client):
    rows = {}
    for tenant in ("acme", "rival"):
        about = {"actor": f"by-{tenant}", "action": "cancel", "workflow_id": f"w-{tenant}", "tenant": tenant}
        rows[tenant] = await sync_to_async(append)(
            **about, phase=AuditEntry.Phase.OUTCOME, namespace="default"
        )
    browser, lost = await signed_in("ann", "operator", "tenant:acme"), await signed_in("lou", "operator")
    root = await signed_in("root", superuser=True)
    await User.objects.filter(username="root").aupdate(is_staff=True)
    listing = reverse("admin:dashboard_auditentry_changelist")
    for address in ("/audit/", "/audit/?actor=by-rival", listing, reverse("overview", args=["default"])):
        text = (await browser.get(address)).content.decode()
        assert "w-rival" not in text, address
        assert (await lost.get(address)).status_code == 403
    assert "w-acme" in (await browser.get(listing)).content.decode()
    assert "w-rival" in (await root.get(listing)).content.decode()
    own, other = (reverse("admin:dashboard_auditentry_change", args=[rows[t].pk]) for t in ("acme", "rival"))
    assert (await browser.get(own)).status_code == 200
    assert (await browser.get(other)).status_code == 302  # as of a row that does not exist
