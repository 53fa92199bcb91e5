"""The registry: what runs where, and what cannot be."""

from __future__ import annotations

import pytest
from temporalio import activity, workflow
from temporalio.common import RawValue

from tests.workers import sample_workflows
from workers.client.attributes import STAGE, TENANT_ID
from workers.patterns.breaker.plugin import BreakerPlugin
from workers.patterns.decisions import NO_BODY
from workers.patterns.dynamic.activities import refuse_unknown
from workers.patterns.dynamic.workflow import NamedByTypeWorkflow
from workers.registry.definitions import workflow_problems
from workers.registry.queues import DYNAMIC
from workers.registry.registry import Registry, RegistryError, registry, workflow_name


@workflow.defn(name="Registered")
class RegisteredWorkflow:
    @workflow.run
    async def run(self) -> None:
        return


@activity.defn(no_thread_cancel_exception=True)
def act() -> None:
    return


def test_adding_to_a_queue_joins_and_adding_twice_changes_nothing():
    own = Registry()
    own.add("q", workflows=[RegisteredWorkflow], attributes=[STAGE])
    own.add("q", activities=[act], attributes=[TENANT_ID, STAGE])
    own.add("q", workflows=[RegisteredWorkflow], activities=[act])
    assert own.queues["q"].workflows == (RegisteredWorkflow,)
    assert own.queues["q"].activities == (act,)
    assert [key.name for key in own.attributes] == ["Stage", "TenantId"]


def test_a_queue_is_found_by_class_run_method_and_name():
    own = Registry()
    own.add("q", workflows=[RegisteredWorkflow])
    for item in (RegisteredWorkflow, RegisteredWorkflow.run, "Registered"):
        assert own.queue_of(item) == "q"


def test_a_workflow_on_two_queues_is_refused():
    own = Registry()
    own.add("one", workflows=[RegisteredWorkflow])
    own.add("two", workflows=[RegisteredWorkflow])
    [problem] = own.problems()
    assert "for one and for two" in problem.what
    assert own.queues["two"].workflows == ()


def test_unknown_and_foreign_things_are_refused():
    with pytest.raises(RegistryError, match="No app"):
        Registry().queue_of("Nobody")
    with pytest.raises(RegistryError, match="not a workflow"):
        workflow_name(str)


def test_a_breaker_has_one_set_of_settings():
    own, plugin = Registry(), BreakerPlugin()
    own.install(plugin)
    plugin.register("payments", threshold=5, open_seconds=300)
    plugin.register("payments", threshold=5, open_seconds=300)
    assert own.problems() == []
    plugin.register("payments", threshold=6, open_seconds=300)
    [problem] = own.problems()
    assert "payments" in problem.what
    assert plugin.configs["payments"].threshold == 5


def test_loading_finds_the_apps():
    registry.load()
    assert "breaker-queue" in registry.queues
    before = dict(registry.queues)
    registry.load()
    assert registry.queues == before


def test_decorators_register_and_hand_back_what_they_got():
    own = Registry()
    assert own.activity("q")(act) is act
    assert own.workflow("q", entity=True)(RegisteredWorkflow) is RegisteredWorkflow
    queue = own.queues["q"]
    assert (queue.activities, queue.workflows) == ((act,), (RegisteredWorkflow,))
    assert queue.entities == (RegisteredWorkflow,)


def test_a_module_registers_what_is_written_in_it_and_nothing_that_it_imports():
    own = Registry()
    own.module("tests.workers.patterns.dynamic.misdirected", queue="q")
    own.module(sample_workflows.__name__, queue="flows")
    assert [workflow_name(cls) for cls in own.queues["q"].workflows] == ["MisdirectedWorkflow"]
    assert sample_workflows.nap in own.queues["flows"].activities
    assert own.problems() == []


def test_a_dynamic_definition_on_any_other_queue_is_a_mistake():
    own = Registry()
    own.add("q", workflows=[NamedByTypeWorkflow], activities=[refuse_unknown])
    told = [problem.what for problem in own.problems()]
    assert len(told) == 2
    assert all("dynamic definition on q" in what for what in told)
    other = Registry()
    other.add(DYNAMIC, workflows=[NamedByTypeWorkflow], activities=[refuse_unknown])
    assert other.problems() == []
    assert (other.activities(), other.activity_queues()) == ({}, {})


@workflow.defn
class TypedHandler:
    @workflow.run
    async def run(self) -> None:
        return

    @workflow.signal
    def renamed(self, name: str) -> None: ...

    @workflow.signal
    def careful(self, raw: RawValue = NO_BODY) -> None: ...


def test_a_handler_that_needs_a_body_is_warned_about_and_stops_nothing():
    own = Registry()
    own.add("q", workflows=[TypedHandler])
    [problem] = own.problems()
    assert problem.warning
    assert "signal renamed" in problem.what


def test_the_shipped_workflows_have_no_mistake_and_no_warning():
    registry.load()
    shipped = {queue for queue in registry.queues.values() if queue.name != "mail-queue"}
    assert [str(p) for q in shipped for cls in q.workflows for p in workflow_problems(cls)] == []


def test_an_activity_for_everywhere_is_on_every_queue_however_late_it_comes():
    own = Registry()
    own.add("early", workflows=[RegisteredWorkflow])
    own.everywhere(act)
    own.add("late")
    own.everywhere(act)
    assert {name: queue.activities for name, queue in own.queues.items()} == {"early": (act,), "late": (act,)}


def test_limits_of_a_queue_stay_whatever_is_added():
    own = Registry()
    own.queue("q", max_activities=4, max_activities_per_second=0.5)
    own.queue("q", max_workflow_tasks=8)
    own.add("q", activities=[act])
    queue = own.queues["q"]
    assert (queue.max_activities, queue.max_activities_per_second, queue.max_workflow_tasks) == (4, 0.5, 8)
