"""Who may do what, whose workflows a person sees, and where people without a login are sent."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, Group

from dashboard.access import (
    ROLES,
    Forbidden,
    Hidden,
    LoginRequired,
    Permission,
    Subject,
    Verb,
    Viewer,
    authorise,
    for_viewer,
    may,
    tenant_for,
    viewer_from,
)
from dashboard.conf import conf
from dashboard.extend import actions
from tests.support import HTMX

CANCEL, APPROVE = actions()["cancel"].permission, actions()["approve"].permission
RUN = Subject("default", "order-1", "r", "acme")


@pytest.fixture
def tenants(settings):
    settings.DASHBOARD = conf().model_copy(update={"tenancy": "attribute"})


@pytest.mark.parametrize(
    ("permission", "able"),
    [(Verb.VIEW, ROLES), (Verb.AUDIT, ("operator", "admin")), (Permission("x"), ("admin",))],
)
def test_a_permission_is_of_its_roles_and_of_admin(viewers, permission, able):
    reasons = {role: may(viewer, permission) for role, viewer in viewers.items()}
    assert {role for role, reason in reasons.items() if not reason} == set(able)
    assert all(reason.endswith(".") for reason in reasons.values() if reason)


def test_a_refusal_names_the_roles_that_may(viewers):
    reason = may(viewers["viewer"], APPROVE)
    assert "approver or admin" in reason
    with pytest.raises(Forbidden, match="approver or admin"):
        authorise(viewers["viewer"], APPROVE)


def test_other_groups_give_no_right():
    assert may(Viewer("f", frozenset({"finance"})), Verb.VIEW).startswith("Your account has no role")


def test_a_superuser_may_everything():
    assert may(Viewer("root", superuser=True), Permission("do what no role may")) == ""


def test_with_tenancy_off_every_run_is_seen(viewers):
    authorise(viewers["viewer"], Verb.VIEW, RUN)
    assert for_viewer(viewers["viewer"]).clause == ""


def test_strangers_runs_do_not_exist(tenants):
    acme, other = (Viewer("a", frozenset({"admin"}), tenant) for tenant in ("acme", "o'ther"))
    authorise(acme, CANCEL, RUN)
    with pytest.raises(Hidden):
        authorise(other, Verb.VIEW, RUN)
    with pytest.raises(Hidden):
        authorise(acme, Verb.VIEW, Subject("default", "order-1", "r", None))
    assert for_viewer(acme).clause == "TenantId = 'acme'"
    assert for_viewer(other).clause == "TenantId = 'o''ther'"


def test_a_stranger_without_the_role_learns_nothing_either(tenants):
    with pytest.raises(Hidden):
        authorise(Viewer("v", frozenset({"viewer"}), "other"), CANCEL, RUN)


def test_nobody_without_a_tenant_sees_a_thing(tenants):
    homeless = Viewer("h", frozenset({"admin"}))
    assert "no tenant" in may(homeless, Verb.VIEW)
    with pytest.raises(Forbidden):
        for_viewer(homeless)
    with pytest.raises(Forbidden):
        tenant_for(homeless)


@pytest.mark.django_db
def test_a_viewer_comes_from_the_groups(approver_user):
    approver_user.groups.add(*(Group.objects.get_or_create(name=n)[0] for n in ("finance", "tenant:acme")))
    roles = frozenset({"approver", "finance"})
    assert viewer_from(approver_user) == Viewer("anna", roles, "acme", tenants=("acme",))


@pytest.mark.django_db
def test_an_account_that_was_switched_off_is_nobody(approver_user):
    approver_user.is_active = False
    with pytest.raises(LoginRequired):
        viewer_from(approver_user)
    with pytest.raises(LoginRequired):
        viewer_from(AnonymousUser())


@pytest.mark.django_db
def test_migrate_made_the_roles():
    from dashboard import roles

    roles.ensure()
    roles.ensure()
    assert set(Group.objects.values_list("name", flat=True)) >= set(ROLES)
    may_look = Group.objects.get(name="operator").permissions.values_list("codename", flat=True)
    assert "view_auditentry" in may_look
    assert not any(name.startswith(("add_", "change_", "delete_")) for name in may_look)
    administers = Group.objects.get(name="admin").permissions.values_list("codename", flat=True)
    assert {"change_user", "view_auditentry"} <= set(administers)
    assert "change_auditentry" not in administers


PAGE = "/ns/default/workflows/?q=a%20b"
pages = pytest.mark.django_db(transaction=True)


@pages
async def test_without_a_login_a_page_leads_to_the_form_and_back(async_client):
    response = await async_client.get(PAGE)
    assert response.status_code == 302
    assert response["Location"] == "/login/?next=/ns/default/workflows/%3Fq%3Da%2520b"


@pages
async def test_without_a_login_a_region_stays_and_takes_nothing_typed_with_it(async_client):
    headers = {**HTMX, "HX-Current-URL": "http://testserver/ns/default/approvals/"}
    response = await async_client.get(PAGE, headers=headers)
    assert response.status_code == 401
    assert response["HX-Reswap"] == "none"
    assert "HX-Redirect" not in response


def test_a_run_of_another_namespace_does_not_exist(viewers):
    elsewhere = Subject("elsewhere", "order-1", "r", "acme")
    for viewer in (*viewers.values(), Viewer("root", superuser=True)):
        with pytest.raises((Hidden, Forbidden)):
            authorise(viewer, Verb.VIEW, elsewhere)
    assert may(viewers["admin"], Verb.VIEW, RUN) == ""
