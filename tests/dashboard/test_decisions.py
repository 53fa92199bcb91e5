"""Decisions on real workflows: exactly once, on the right run, with the workflow's own answer."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest

from dashboard.access import Forbidden, Hidden, Viewer
from dashboard.actions import decide as deciding
from dashboard.actions import limits, taken
from dashboard.conf import conf
from dashboard.errors import Closed, Invalid, NotTaken, OutcomeUnknown, TooMany
from dashboard.extend import actions
from dashboard.models import AuditEntry
from dashboard.temporal_api import answers, decisions
from tests.dashboard.factories import start_run
from tests.dashboard.flows import Decidable, Foreign, foreign_worker
from tests.dashboard.signed_forms import form_id
from tests.support import eventually
from workers.client.errors import RunNotFound, TemporalUnavailable
from workers.contracts import Outcome, Verdict
from workers.registry.registry import RegistryError

pytestmark = pytest.mark.django_db(transaction=True)


def new_id() -> str:
    return uuid.uuid4().hex


async def decide(viewer, workflow_id, run_id, action, *, nonce="", deadline=None, gate=None, **fields):
    fields.setdefault("form_id", form_id(viewer.name, workflow_id, run_id, nonce=nonce))
    return await deciding.decide(
        viewer, actions()[action], workflow_id, run_id, fields, deadline=deadline, gate=gate
    )


@pytest.fixture
async def start(client, queue, monkeypatch):
    """Start a workflow on a queue that a worker serves. How soon it answers is not what is tried here."""
    monkeypatch.setattr(decisions, "INTERFACE_SECONDS", 20)
    async with foreign_worker(client, queue):

        async def _start(flow=Decidable):
            return await client.start_workflow(flow.run, id=f"flow-{new_id()}", task_queue=queue)

        yield _start


async def outcomes():
    return [row.outcome async for row in AuditEntry.objects.filter(phase="outcome").order_by("id")]


async def test_a_decision_is_applied_with_the_identity_of_the_login(start, viewers):
    run = await start()
    verdict = await decide(
        viewers["approver"],
        run.id,
        run.first_execution_run_id,
        "approve",
        reason=" ok ",
    )
    assert (verdict.outcome, verdict.by, verdict.detail) == (Outcome.APPLIED, "anna", "anna as approver: ok")
    assert await outcomes() == ["applied"]


async def test_the_same_decision_again_gets_the_same_answer(start, viewers):
    run, key = await start(), new_id()
    first, second = [await decide(viewers["approver"], run.id, "", "approve", nonce=key) for _ in range(2)]
    assert first == second
    assert first.outcome == Outcome.APPLIED


async def test_two_at_once_one_is_too_late(start, viewers):
    run = await start()
    verdicts = await asyncio.gather(
        decide(viewers["approver"], run.id, "", "approve"),
        decide(viewers["admin"], run.id, "", "reject", reason="late"),
    )
    assert sorted(v.outcome for v in verdicts) == [Outcome.ALREADY_DECIDED, Outcome.APPLIED]
    assert verdicts[0].by == verdicts[1].by


async def test_a_refusal_is_an_answer(start, viewers):
    run = await start()
    verdict = await decide(viewers["approver"], run.id, "", "reject", reason="refuse me")
    assert verdict.outcome == Outcome.REFUSED


async def test_after_continue_as_new_it_reaches_the_run_that_is_open(start, client, viewers):
    run = await start()
    await run.signal("go", "roll")

    async def rolled():
        return (await client.get_workflow_handle(run.id).describe()).run_id != run.first_execution_run_id

    await eventually(rolled)
    verdict = await decide(viewers["approver"], run.id, run.first_execution_run_id, "approve")
    assert verdict.outcome == Outcome.APPLIED


async def test_a_later_workflow_of_the_same_id_is_left_alone(start, client, queue, viewers):
    run = await start()
    await run.signal("go", "end")
    await run.result()
    later = await client.start_workflow(Decidable.run, id=run.id, task_queue=queue)
    with pytest.raises(Closed) as caught:
        await decide(viewers["approver"], run.id, run.first_execution_run_id, "approve")
    assert caught.value.state == "Completed"
    unknown = await later.query(Decidable.get_approval_status)
    assert unknown["votes"] == []


async def test_a_closed_workflow_says_how_it_ended_and_who_decided(start, viewers):
    run, key = await start(), new_id()
    await decide(viewers["approver"], run.id, run.first_execution_run_id, "approve", nonce=key)
    await run.signal("go", "end")
    await run.result()
    again = await decide(viewers["approver"], run.id, run.first_execution_run_id, "approve", nonce=key)
    assert again.outcome == Outcome.APPLIED
    with pytest.raises(Closed) as caught:
        await decide(viewers["admin"], run.id, "", "reject", reason="late")
    assert caught.value.state == "Completed"
    assert caught.value.verdict is not None
    assert caught.value.verdict.by == "anna"
    assert await outcomes() == ["applied", "applied", "failed"]


async def test_without_a_worker_it_is_recorded_and_waits(client, queue, viewers):
    run = await start_run(
        client, queue, f"flow-{new_id()}", workflow_type="Decidable", waiting_for="approval"
    )
    started = time.monotonic()
    verdict = await decide(viewers["approver"], run.id, "", "approve")
    assert verdict.outcome == Outcome.PENDING
    assert "not confirmed yet: no worker" in verdict.detail
    assert time.monotonic() - started < 2
    assert "the workflow decides on it once one does" in verdict.detail
    async with foreign_worker(client, queue):
        answer = await run.query(Decidable.get_decision, verdict.decision_id)
        assert answer["outcome"] == "applied"


async def test_a_foreign_workflow_takes_the_signal_once(start, viewers):
    run, key = await start(Foreign), new_id()
    for _ in range(2):
        verdict = await decide(viewers["approver"], run.id, "", "approve", nonce=key)
        assert (verdict.outcome, verdict.detail) == (
            Outcome.PENDING,
            "Signal accepted. This workflow does not confirm decisions; watch its status.",
        )
    assert await run.query(Foreign.told) == 1


async def test_cancellation_is_requested_of_temporal(start, viewers):
    run = await start(Foreign)
    verdict = await decide(viewers["operator"], run.id, "", "request_cancel", reason="enough")
    assert (verdict.outcome, verdict.detail[:25]) == (Outcome.PENDING, "Cancellation is requested")

    async def cancelled():
        return (await run.describe()).status.name == "CANCELED"

    await eventually(cancelled)


async def test_cancel_with_the_signal_is_the_workflows_own(start, viewers):
    run = await start()
    verdict = await decide(viewers["operator"], run.id, "", "cancel", reason="no")
    assert verdict.outcome == Outcome.APPLIED


async def test_many_are_gathered_under_one_deadline_and_one_gate(start, viewers):
    runs = [await start() for _ in range(5)]
    gate, deadline = asyncio.Semaphore(2), time.monotonic() + 5
    verdicts = await asyncio.gather(
        *(decide(viewers["approver"], run.id, "", "approve", deadline=deadline, gate=gate) for run in runs)
    )
    assert {v.outcome for v in verdicts} == {Outcome.APPLIED}
    assert await outcomes() == ["applied"] * 5


async def test_the_gate_is_free_while_verdicts_are_waited_for(client, queue, viewers, monkeypatch):
    """Otherwise the deadline of many would pass while the first few are waited for."""
    name, gate = f"flow-{new_id()}", asyncio.Lock()
    run = await start_run(client, queue, name, workflow_type="Decidable", waiting_for="approval")
    free = []

    async def verdict(*_, **__):
        free.append(not gate.locked())
        return Verdict()

    monkeypatch.setattr(decisions, "_verdict", verdict)
    await decide(viewers["approver"], run.id, "", "approve", gate=gate)
    assert free == [True]


@pytest.mark.parametrize(
    ("action", "fields", "wrong"),
    [
        ("reject", {"reason": "  "}, {"reason"}),
        ("cancel", {}, {"reason"}),
        ("approve", {"reason": "x" * 2001}, {"reason"}),
        ("approve", {"form_id": ""}, {"form_id"}),
        ("approve", {"form_id": "x" * 201}, {"form_id"}),
        ("resolve_compensation", {"reason": "r", "choice": "forget", "step": ""}, {"choice", "step"}),
        (
            "resolve_compensation",
            {"reason": "r", "choice": "settled_outside", "step": "charge"},
            {"evidence"},
        ),
    ],
)
async def test_each_wrong_field_is_named_and_nothing_is_sent(viewers, action, fields, wrong):
    with pytest.raises(Invalid) as caught:
        await decide(viewers["admin"], "order-1", "", action, **fields)
    assert set(caught.value.errors) == wrong
    assert await outcomes() == []


async def test_no_right_no_signal(client, viewers):
    with pytest.raises(Forbidden):
        await decide(viewers["viewer"], "order-1", "", "approve")


async def test_no_such_workflow(client, viewers):
    with pytest.raises(RunNotFound):
        await decide(viewers["approver"], f"gone-{new_id()}", "", "approve")


async def test_a_run_id_that_cannot_be_one(client, viewers):
    with pytest.raises(RunNotFound):
        await decide(viewers["approver"], "order-1", "not a run", "approve")


async def test_a_strangers_run_is_not_there(start, viewers, settings):
    settings.DASHBOARD = conf().model_copy(update={"tenancy": "attribute"})
    run = await start()
    acme = Viewer("anna", frozenset({"approver"}), "acme")
    with pytest.raises(Hidden):
        await decide(acme, run.id, "", "approve")
    assert (await run.query(Decidable.get_approval_status))["votes"] == []


async def test_temporal_away_is_said_and_nothing_is_recorded(viewers, monkeypatch):
    async def away():
        raise TemporalUnavailable("Temporal cannot be reached.")

    monkeypatch.setattr("dashboard.access.get_client", away)
    with pytest.raises(TemporalUnavailable):
        await decide(viewers["approver"], "order-1", "", "approve")
    assert await outcomes() == []


async def details():
    rows = AuditEntry.objects.filter(phase="outcome").order_by("id")
    return [(row.actor, row.action, row.outcome, row.detail) async for row in rows]


async def test_each_button_of_a_form_sends_a_decision_of_its_own(start, viewers):
    run, key, ada = await start(), new_id(), viewers["admin"]
    first = await decide(ada, run.id, "", "approve", nonce=key)
    second = await decide(ada, run.id, "", "cancel", nonce=key, reason="no")
    assert (first.outcome, second.outcome) == (Outcome.APPLIED, Outcome.ALREADY_DECIDED)
    assert first.decision_id != second.decision_id


@pytest.mark.parametrize("made_for", ["another person", "another run", "nobody: it is forged"])
async def test_an_id_that_was_not_made_for_this_form_is_refused_and_audited(start, viewers, made_for):
    run = await start()
    ids = {
        "another person": form_id("ada", run.id),
        "another run": form_id("anna", "order-7"),
        "nobody: it is forged": f"{new_id()}:forged",
    }
    with pytest.raises(Invalid, match="made for another person or another workflow"):
        await decide(viewers["approver"], run.id, "", "approve", form_id=ids[made_for])
    ((actor, action, outcome, detail),) = await details()
    assert (actor, action, outcome) == ("anna", "approve", "failed")
    assert "made for another person" in detail
    assert (await run.query(Decidable.get_approval_status))["votes"] == []


async def test_the_verdict_on_the_decision_of_another_is_never_told_as_ones_own(start, viewers, monkeypatch):
    async def theirs(*_, **__):
        return Verdict(outcome="applied", detail="Approved.", actor="ben", signal="approve")

    monkeypatch.setattr(decisions, "_verdict", theirs)
    run = await start()
    verdict = await decide(viewers["approver"], run.id, "", "reject", reason="no")
    assert verdict.outcome == Outcome.REFUSED
    assert verdict.detail == "The id of this decision belongs to approve by ben. Nothing was done."
    assert await outcomes() == ["refused"]


async def test_a_signal_that_a_workflow_does_not_take_is_not_sent(start, viewers):
    run = await start()
    with pytest.raises(NotTaken, match=r"Decidable does not take the signal withdraw\. Nothing was sent"):
        await decide(viewers["viewer"], run.id, "", "withdraw", reason="mine")
    assert (await details())[0][:3] == ("vera", "withdraw", "failed")
    events = [event async for event in run.fetch_history_events()]
    assert not any(event.HasField("workflow_execution_signaled_event_attributes") for event in events)


async def test_nor_where_it_is_not_known_because_no_worker_answers(client, queue, viewers):
    run = await start_run(client, queue, f"flow-{new_id()}", workflow_type="Unseen")
    with pytest.raises(NotTaken, match="not known whether Unseen takes the signal approve"):
        await decide(viewers["approver"], run.id, "", "approve")
    sent = await decide(viewers["admin"], run.id, "", "approve")
    assert sent.outcome == Outcome.PENDING, "admins and operators may send any signal"


async def test_a_registered_type_takes_its_signals_without_a_worker_and_no_others(client, viewers):
    name = f"order-{new_id()}"
    await start_run(client, f"queue-{new_id()}", name, workflow_type="OrderWorkflow")
    assert (await decide(viewers["operator"], name, "", "cancel", reason="no")).outcome == Outcome.PENDING
    with pytest.raises(NotTaken):
        await decide(viewers["approver"], name, "", "delegate", reason="away", to="ben")


async def test_requests_are_limited_for_each_person_and_workflow(start, viewers, monkeypatch):
    monkeypatch.setattr(limits, "MOST", 2)
    monkeypatch.setattr(limits, "WINDOW", 3600)
    run, other, anna = await start(), await start(), viewers["approver"]
    for _ in range(2):
        await decide(anna, run.id, "", "approve")
    with pytest.raises(TooMany) as caught:
        await decide(anna, run.id, "", "approve")
    assert 0 < caught.value.seconds <= 3600
    assert len(await outcomes()) == 2
    await decide(anna, other.id, "", "approve")
    await decide(viewers["admin"], run.id, "", "approve")


async def test_what_fails_while_it_is_sent_is_said_to_be_unknown(start, viewers, monkeypatch):
    async def away(*_, **__):
        raise TemporalUnavailable("Temporal cannot be reached.")

    monkeypatch.setattr(deciding, "deliver", away)
    run = await start()
    with pytest.raises(OutcomeUnknown, match="counts once"):
        await decide(viewers["approver"], run.id, "", "approve")
    assert (await details())[0][2:] == ("unknown", "Temporal cannot be reached. It may have been applied.")


async def test_after_a_deadline_no_voter_is_named(start, viewers, monkeypatch):
    run = await start()
    await decide(viewers["approver"], run.id, "", "approve")
    await run.signal("go", "end")
    await run.result()
    real = decisions.query_run

    async def expired(client, of, name, *more, **options):
        if name != "get_approval_status":
            return await real(client, of, name, *more, **options)
        return {"state": "expired", "votes": [{"actor": "anna"}]}

    monkeypatch.setattr(decisions, "query_run", expired)
    with pytest.raises(Closed) as caught:
        await decide(viewers["admin"], run.id, "", "reject", reason="late")
    assert (caught.value.verdict.by, caught.value.verdict.detail) == ("", "It was expired before.")


async def test_what_a_workflow_has_declared_is_remembered_while_no_worker_answers(
    client, queue, viewers, monkeypatch
):
    async with foreign_worker(client, queue):
        run = await client.start_workflow(Decidable.run, id=f"flow-{new_id()}", task_queue=queue)
        # The second one knows the build: the first may come before any worker has taken the run.
        for outcome in (Outcome.APPLIED, Outcome.ALREADY_DECIDED):
            assert (await decide(viewers["approver"], run.id, "", "approve")).outcome == outcome
    monkeypatch.setattr(answers, "INTERFACE_FRESH_SECONDS", 0)
    monkeypatch.setattr(answers, "has_pollers", no_pollers)
    sent = await decide(viewers["approver"], run.id, "", "reject", reason="late")
    assert sent.outcome == Outcome.PENDING
    with pytest.raises(NotTaken):
        await decide(viewers["viewer"], run.id, "", "withdraw", reason="mine")


async def no_pollers(*_):
    return False


def test_the_registry_is_loaded_first_and_a_mistake_in_it_hides_no_type(server, monkeypatch):
    loaded = []

    def load():
        loaded.append(True)
        raise RegistryError("Invalid registrations:")

    monkeypatch.setattr(taken.registry, "load", load)
    assert {"approve", "reject", "cancel"} <= taken.registered_signals("OrderWorkflow")
    assert taken.registered_signals("Unseen") == frozenset()
    assert loaded
