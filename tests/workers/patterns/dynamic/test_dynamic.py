"""DynamicWorkflow and the dynamic handlers: an activity by its name, and a clear word for a wrong one."""

from __future__ import annotations

import uuid

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError

from tests.examples import mailer
from tests.golden import replays
from tests.workers import sample_workflows
from tests.workers.patterns.dynamic.misdirected import MisdirectedWorkflow
from workers.client.launch import launch
from workers.patterns.dynamic.activities import UNKNOWN_ACTIVITY
from workers.patterns.dynamic.messages import DynamicInput
from workers.patterns.dynamic.workflow import DynamicWorkflow, NamedByTypeWorkflow
from workers.registry.definitions import ANY, RegistryError, activity_name, workflow_name
from workers.registry.queues import DYNAMIC, PLATFORM
from workers.registry.registry import registry
from workers.testing.swap import swapped


def fresh(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex}"


@pytest.fixture
async def running(worker):
    assert mailer.plugin.name() in registry.plugins
    async with worker(PLATFORM, DYNAMIC, "mail-queue"):
        yield


async def failure(handle) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ApplicationError), caught.value.cause
    return caught.value.cause


async def test_an_activity_runs_by_its_name(client: Client, running):
    wanted = DynamicInput(activity_name="mailer.send", input={"to": "ada"})
    handle = await launch(DynamicWorkflow, wanted, id=fresh("dynamic"), client=client)
    assert await handle.result() == "sent to ada"
    answer = await handle.query("get_status")
    assert (answer["stage"], answer["summary"]) == ("done", "Runs mailer.send.")
    await replays(client, handle, "dynamic", [DynamicWorkflow])


async def test_an_unknown_name_fails_at_once_with_the_known_ones(client: Client, running):
    wanted = DynamicInput(activity_name="mailer.sned")
    cause = await failure(await launch(DynamicWorkflow, wanted, id=fresh("dynamic"), client=client))
    assert cause.type == UNKNOWN_ACTIVITY
    assert "No such activity: mailer.sned" in cause.message
    assert "mailer.send" in cause.message


async def test_a_workflow_type_that_nobody_has_is_the_name_of_an_activity(client: Client, running):
    handle = await client.start_workflow(
        "mailer.send", mailer.Letter(to="ada"), id=fresh("type"), task_queue=DYNAMIC
    )
    assert await handle.result() == "sent to ada"
    await replays(client, handle, "dynamic-by-type", [NamedByTypeWorkflow])


async def test_a_workflow_type_that_means_nothing_is_refused_with_the_known_names(client: Client, running):
    handle = await client.start_workflow("Nothing", id=fresh("type"), task_queue=DYNAMIC)
    cause = await failure(handle)
    assert "No such activity: Nothing" in cause.message


async def test_an_activity_that_needs_an_input_says_so(client: Client, running):
    handle = await client.start_workflow("mailer.send", id=fresh("type"), task_queue=DYNAMIC)
    assert (await failure(handle)).message == "mailer.send needs an input."


async def test_an_activity_sent_to_the_dynamic_queue_is_refused_for_good(
    client: Client, worker, running, queue
):
    """Without the handler it would be tried again for ever."""
    async with worker(queue, workflows=[MisdirectedWorkflow]):
        for name, said in (("mailer.send", "runs on mail-queue"), ("nothing", "No such activity")):
            with pytest.raises(WorkflowFailureError) as caught:
                await client.execute_workflow(
                    MisdirectedWorkflow.run, name, id=fresh("lost"), task_queue=queue
                )
            assert isinstance(caught.value.cause, ActivityError)
            assert said in caught.value.cause.cause.message


def test_dynamic_handlers_are_on_their_queue_alone():
    registry.load()
    with_any = {
        queue.name
        for queue in registry.queues.values()
        if ANY in {*map(workflow_name, queue.workflows), *map(activity_name, queue.activities)}
    }
    assert with_any == {DYNAMIC}


async def test_any_activity_can_be_swapped_also_while_the_worker_runs(client: Client, running):
    def fake(letter: mailer.Letter) -> str:
        return f"pretended for {letter.to}"

    wanted = DynamicInput(activity_name="mailer.send", input={"to": "ada"})
    with swapped("mailer.send", fake):
        handle = await launch(DynamicWorkflow, wanted, id=fresh("dynamic"), client=client)
        assert await handle.result() == "pretended for ada"
    handle = await launch(DynamicWorkflow, wanted, id=fresh("dynamic"), client=client)
    assert await handle.result() == "sent to ada"


async def test_an_activity_that_is_not_registered_is_swapped_by_itself(client: Client, worker, queue):
    async def fake(seconds: float) -> str:
        return f"dreamt for {seconds}"

    async with worker(queue, workflows=[sample_workflows.NappingWorkflow], activities=[sample_workflows.nap]):
        with swapped(sample_workflows.nap, fake):
            assert (
                await client.execute_workflow(
                    sample_workflows.NappingWorkflow.run, 1000.0, id=fresh("nap"), task_queue=queue
                )
                == "dreamt for 1000.0"
            )


def test_a_swap_of_nothing_is_refused():
    with pytest.raises(RegistryError, match="No activity is called"), swapped("mailer.sned", print):
        pass
