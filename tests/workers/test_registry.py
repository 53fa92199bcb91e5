"""The registry: what runs where, and what cannot be."""

from __future__ import annotations

import pytest
from temporalio import activity, workflow

from workers.attributes import STAGE, TENANT_ID
from workers.registry import Registry, RegistryError, registry, workflow_name


@workflow.defn(name="Registered")
class RegisteredWorkflow:
    @workflow.run
    async def run(self) -> None:
        return


@activity.defn
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
    own = Registry()
    own.breaker("payments", threshold=5, open_seconds=300)
    own.breaker("payments", threshold=5, open_seconds=300)
    assert own.problems() == []
    own.breaker("payments", threshold=6, open_seconds=300)
    [problem] = own.problems()
    assert "payments" in problem.what
    assert own.breakers["payments"].threshold == 5


def test_loading_finds_the_apps():
    registry.load()
    assert "breaker-queue" in registry.queues
    before = dict(registry.queues)
    registry.load()
    assert registry.queues == before


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
