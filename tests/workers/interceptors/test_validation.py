"""Inputs that never fit: they end at once, naming each field, and nothing is tried for ever."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import Replayer

from tests.support import eventually
from tests.workers.interceptors.typed_inputs import (
    Parcel,
    PlainWorkflow,
    ShippingWorkflow,
    StricterWaitingWorkflow,
    WaitingWorkflow,
    WeighingWorkflow,
    weigh,
)
from workers.payloads.validation import INVALID_INPUT, MOST_ERRORS, fields_of, miscounted
from workers.process.plugins import worker_plugins


@pytest.fixture
def name() -> str:
    return f"input-{uuid.uuid4().hex}"


def cause_of(error: WorkflowFailureError) -> ApplicationError:
    cause = error.cause.cause if isinstance(error.cause, ActivityError) else error.cause
    assert isinstance(cause, ApplicationError)
    return cause


@pytest.mark.parametrize(
    ("kind", "args", "fields"),
    [
        ("Shipping", [{"weight": 0, "secret": "s3cret"}], {"weight", "label"}),
        ("Plain", [{"weight": "much"}], {"weight", "label"}),
        ("Shipping", [["not", "a", "parcel"]], {""}),
        ("Shipping", [], {""}),
        ("Plain", [], {""}),
        ("Plain", [{"weight": 1, "label": "a"}, "too many"], {""}),
    ],
)
async def test_a_workflow_started_with_a_wrong_input_fails_and_names_each_field(
    client, queue, worker, name, kind, args, fields
):
    async with worker(queue, workflows=[ShippingWorkflow, PlainWorkflow]):
        handle = await client.start_workflow(kind, args=args, id=name, task_queue=queue)
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    cause = cause_of(caught.value)
    assert (cause.type, cause.non_retryable) == (INVALID_INPUT, True)
    assert set(cause.details[0]) == fields
    assert "s3cret" not in str(cause)
    assert kind in cause.message


@pytest.mark.parametrize(
    ("bodies", "fields"), [([{"weight": 0}], {"weight", "label"}), ([], {""}), ([1, 2], {""})]
)
async def test_an_activity_given_a_wrong_input_is_not_tried_again(
    client, queue, worker, name, bodies, fields
):
    async with worker(queue, workflows=[WeighingWorkflow], activities=[weigh]):
        handle = await client.start_workflow(WeighingWorkflow.run, bodies, id=name, task_queue=queue)
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    cause = cause_of(caught.value)
    assert (cause.type, cause.non_retryable) == (INVALID_INPUT, True)
    assert set(cause.details[0]) == fields


async def test_an_open_run_whose_input_a_later_build_refuses_stays_open(client, queue, worker, name):
    async with worker(queue, workflows=[WaitingWorkflow]):
        handle = await client.start_workflow(
            WaitingWorkflow.run, Parcel(weight=1, label="a"), id=name, task_queue=queue
        )

        async def begun() -> bool:
            history = await handle.fetch_history()
            return any(e.HasField("workflow_task_completed_event_attributes") for e in history.events)

        await eventually(begun)
    async with worker(queue, workflows=[StricterWaitingWorkflow]):
        await handle.signal("go")

        async def alarmed() -> bool:
            return (await handle.describe()).raw_description.pending_workflow_task.attempt > 1

        await eventually(alarmed)
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    await handle.terminate()


async def test_the_runner_replays_like_any_other(client, queue, worker, name):
    async with worker(queue, workflows=[PlainWorkflow]):
        handle = await client.start_workflow(
            PlainWorkflow.run, Parcel(weight=1, label="a"), id=name, task_queue=queue
        )
        await handle.result()
    replayer = Replayer(
        workflows=[PlainWorkflow],
        plugins=worker_plugins(),
        data_converter=client.data_converter,
    )
    await replayer.replay_workflow(await handle.fetch_history())


def test_so_many_arguments_fit() -> None:
    def plain(a: int, b: int = 0) -> None: ...
    def starred(*args: int) -> None: ...

    assert [bool(miscounted(plain, given)) for given in range(4)] == [True, False, False, True]
    assert not miscounted(starred, 9)
    assert not miscounted(PlainWorkflow.run, 1, skip=1)


@given(st.lists(st.tuples(st.lists(st.text(max_size=100)), st.text()), max_size=80))
def test_errors_become_fields_with_a_cap(errors):
    found = fields_of([{"loc": tuple(loc), "msg": msg} for loc, msg in errors])
    assert len(found) <= min(MOST_ERRORS, len(errors))
    assert all(len(part) <= 60 for field in found for part in field.split("."))
