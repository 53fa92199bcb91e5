"""Flags and tenants' activities: read from the database once a run, and held for the whole of it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.test import Client as HttpClient
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from tests.examples import postman
from tests.examples.mailer import Letter
from tests.examples.switches import Greeting
from tests.golden import replayer
from tests.support import eventually
from workers.client.tenancy import tenant_context
from workers.models import FeatureFlag, TenantActivity
from workers.patterns.dynamic.activities import UNKNOWN_ACTIVITY, resolve_activities, resolve_flags
from workers.patterns.dynamic.flags import flag
from workers.patterns.dynamic.messages import Names
from workers.registry.queues import PLATFORM
from workers.registry.registry import registry

FLAG = "signed-letters"


@pytest.fixture(autouse=True)
def _registered() -> None:
    registry.load()
    assert postman.plugin.name() in registry.plugins


@pytest.fixture
def client_of():
    def client_of(user: User) -> HttpClient:
        http = HttpClient()
        http.force_login(user)
        return http

    return client_of


def resolved(name: str, tenant: str | None = None) -> str:
    with tenant_context(tenant, None):
        return ActivityEnvironment().run(resolve_activities, Names(names=[name]))[name].name


@pytest.mark.django_db
def test_the_row_of_a_tenant_wins_over_the_one_for_all():
    assert flag(FLAG) is False
    FeatureFlag.objects.create(name=FLAG, enabled=True)
    FeatureFlag.objects.create(name=FLAG, tenant="acme", enabled=False)
    assert [flag(FLAG), flag(FLAG, "acme"), flag(FLAG, "other")] == [True, False, True]
    with tenant_context("acme", None):
        assert resolve_flags(Names(names=[FLAG, "unknown"])) == {FLAG: False, "unknown": False}


@pytest.mark.django_db
def test_a_flag_has_one_row_for_a_tenant():
    FeatureFlag.objects.create(name=FLAG)
    with pytest.raises(IntegrityError), transaction.atomic():
        FeatureFlag.objects.create(name=FLAG)


@pytest.mark.django_db
def test_a_tenant_gets_its_own_activity():
    assert resolved("mailer.send", "acme") == "mailer.send"
    TenantActivity.objects.create(name="mailer.send", implementation="postman.send")
    TenantActivity.objects.create(name="mailer.send", tenant="acme", implementation="mailer.send")
    assert resolved("mailer.send") == resolved("mailer.send", "other") == "postman.send"
    assert resolved("mailer.send", "acme") == "mailer.send"


@pytest.mark.django_db
def test_a_name_may_be_one_that_only_the_table_knows():
    TenantActivity.objects.create(name="send_letter", tenant="acme", implementation="postman.send")
    assert resolved("send_letter", "acme") == "postman.send"
    with pytest.raises(ApplicationError, match="No such activity: send_letter"):
        resolved("send_letter", "other")


@pytest.mark.django_db
def test_an_implementation_that_nobody_registered_is_an_error_that_names_it():
    TenantActivity.objects.create(name="mailer.send", tenant="acme", implementation="gone.send")
    with pytest.raises(ApplicationError, match=r"gone\.send \(set for mailer\.send") as caught:
        resolved("mailer.send", "acme")
    assert caught.value.type == UNKNOWN_ACTIVITY
    assert caught.value.non_retryable
    assert "postman.send" in caught.value.message


async def first_letter(handle: WorkflowHandle[Any, Any]) -> None:
    """Flags, activities and the first letter are there."""

    async def written() -> bool:
        history = await handle.fetch_history()
        done = [e for e in history.events if e.HasField("activity_task_completed_event_attributes")]
        return len(done) == 3

    await eventually(written)


@pytest.mark.django_db(transaction=True)
async def test_a_switch_during_a_run_changes_nothing_for_that_run(client: Client, worker, queue):
    await FeatureFlag.objects.acreate(name=FLAG, enabled=True)
    async with worker(PLATFORM), worker("mail-queue"), worker(queue, workflows=[Greeting]):

        async def start():
            return await client.start_workflow(
                Greeting.run, Letter(to="ada"), id=f"greeting-{uuid.uuid4().hex}", task_queue=queue
            )

        before = await start()
        await first_letter(before)
        await FeatureFlag.objects.filter(name=FLAG).aupdate(enabled=False)
        await TenantActivity.objects.acreate(name="mailer.send", implementation="postman.send")
        after = await start()
        for handle in (before, after):
            await handle.signal(Greeting.go_on)
        assert await before.result() == ["sent to ada, signed"] * 2
        assert await after.result() == ["carried to ada"] * 2
    await replayer(client, [Greeting]).replay_workflow(await before.fetch_history())


FLAGS, ACTIVITIES = "/admin/workers/featureflag/add/", "/admin/workers/tenantactivity/add/"


def test_an_administrator_switches_and_the_log_of_the_admin_keeps_who(client_of, admin_user):
    answer = client_of(admin_user).post(FLAGS, {"name": FLAG, "tenant": "", "enabled": "on"})
    assert answer.status_code == 302
    assert flag(FLAG)
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_repr) == (admin_user, f"{FLAG} for all tenants: on")


def test_other_staff_only_look(client_of, operator_user, viewer_user):
    listed = FLAGS.removesuffix("add/")
    found = [(client_of(operator_user).get(path)).status_code for path in (listed, FLAGS)]
    assert found == [200, 403]
    assert client_of(viewer_user).get(listed).status_code == 302  # to the login: not staff


def test_the_admin_refuses_an_implementation_that_no_worker_has(client_of, admin_user):
    http, body = client_of(admin_user), {"name": "mailer.send", "tenant": "acme"}
    answer = http.post(ACTIVITIES, {**body, "implementation": "mailer.sned"})
    assert "No app has registered it" in answer.content.decode()
    assert not TenantActivity.objects.exists()
    answer = http.post(ACTIVITIES, {**body, "implementation": "postman.send"})
    assert (answer.status_code, TenantActivity.objects.count()) == (302, 1)
