"""Which actions are offered on what a run is known to be, and why a button is disabled; without a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from dashboard import extend
from dashboard.access import Permission, Subject, Viewer
from dashboard.actions import breaker, refusals
from dashboard.actions.offers import Typed, buttons, forms, reason_hint, version_of
from dashboard.actions.resolve_compensation import stuck_steps
from dashboard.extend import Action, Offer, Target, actions
from tests.dashboard.signed_forms import form_id
from workers.contracts import (
    ApprovalPolicy,
    ApprovalStatus,
    CompensationStatus,
    Delegation,
    Escalation,
    Progress,
    Query,
    SagaStatus,
    StepState,
    StepStatus,
    Vote,
)

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
RUN = Subject("default", "order-1", "r", None)
EVERY_SIGNAL = frozenset(action.signal for action in actions().values())


def target(viewer: Viewer | None = None, **more: Any) -> Target:
    return Target(viewer or ADA, RUN, **more)


def names(on: Target, place: Any = "run") -> list[str]:
    return [button.action.name for button in buttons(on, place)]


def test_stuck_steps_and_stuck_compensations_can_be_resolved() -> None:
    stuck = CompensationStatus(name="refund", status=StepState.STUCK)
    status = SagaStatus(
        steps=[
            StepStatus(name="reserve", status=StepState.DONE),
            StepStatus(name="charge", status=StepState.DONE, compensation=stuck),
            StepStatus(name="tell", status=StepState.STUCK),
        ]
    )
    assert stuck_steps(status) == ["charge", "tell"]


ANNA = Viewer("anna", frozenset({"approver"}))
BEN = Viewer("ben", frozenset({"viewer"}))
ADA = Viewer("ada", frozenset({"admin"}))


def question(**more: Any) -> ApprovalStatus:
    policy = ApprovalPolicy(quorum=2, roles=["approver"], self_approval=False, delegation=True)
    return ApprovalStatus(requester="cleo", policy=policy, deadline=NOW + HOUR, **more)


LENT = [Delegation(actor="anna", to="ben", at=NOW - HOUR)]


@pytest.mark.parametrize(
    ("viewer", "status", "words"),
    [
        (ANNA, question(), ""),
        (BEN, question(), "This needs the role approver."),
        (Viewer("Cleo ", frozenset({"approver"})), question(), "The requester may not decide."),
        (ANNA, question(votes=[Vote(actor="Anna")]), "You have voted already."),
        (ANNA, question(delegations=LENT), "anna let ben vote instead."),
        (BEN, question(delegations=LENT), ""),
        (BEN, question(escalations=[Escalation(at=NOW - HOUR, roles=["viewer"])]), ""),
        (
            BEN,
            question(escalations=[Escalation(at=NOW + HOUR, roles=["viewer"])]),
            "This needs the role approver.",
        ),
        (BEN, question(escalations=[Escalation(at=(NOW - HOUR).replace(tzinfo=None), roles=["viewer"])]), ""),
    ],
)
def test_a_vote_that_would_be_refused_is_told_so(viewer, status, words):
    assert refusals.vote_refusal(viewer, status) == words


def test_who_may_delegate_and_who_may_withdraw():
    assert refusals.delegation_refusal(ANNA, question()) == ""
    assert refusals.delegation_refusal(BEN, question()) == "This needs the role approver."
    assert refusals.delegation_refusal(ANNA, question(delegations=LENT)) == "anna let ben vote instead."
    anybody = question().model_copy(update={"policy": ApprovalPolicy(delegation=True)})
    assert "nothing to delegate" in refusals.delegation_refusal(ANNA, anybody)
    for viewer in (Viewer("CLEO", frozenset({"viewer"})), ANNA):
        assert refusals.withdrawal_refusal(viewer, question()) == ""
    for viewer in (BEN, ADA):
        assert "(cleo)" in refusals.withdrawal_refusal(viewer, question())


PAUSES = frozenset({"cancel", "pause", "unpause"})
VOTES = ["approve", "reject", "cancel"]


@pytest.mark.parametrize(
    ("known", "offered"),
    [
        ({"answers": {Query.APPROVAL: ApprovalStatus()}}, VOTES),
        ({"answers": {Query.APPROVAL: ApprovalStatus(state="approved")}}, ["cancel"]),
        (
            {"answers": {Query.APPROVAL: ApprovalStatus()}, "signals": frozenset({"cancel", "withdraw"})},
            [*VOTES, "withdraw"],
        ),
        (
            {"answers": {Query.APPROVAL: ApprovalStatus()}, "signals": frozenset({"cancel", "delegate"})},
            VOTES,
        ),
        ({"attributes": {"WaitingFor": "approval"}}, VOTES),
        ({"attributes": {"WaitingFor": ["breaker", "approval"]}}, VOTES),
        ({"attributes": {"SagaState": "stuck"}}, ["resolve_compensation", "cancel"]),
        ({"answers": {Query.SAGA: SagaStatus(state="stuck")}}, ["resolve_compensation", "cancel"]),
        ({"attributes": {"WaitingFor": ["operator"]}}, ["cancel"]),
        ({"signals": frozenset({"cancel", "resolve"})}, ["cancel"]),
        (
            {"attributes": {"WaitingFor": ["operator"]}, "signals": frozenset({"cancel", "resolve"})},
            ["cancel", "resolve"],
        ),
        ({"answers": {Query.PROGRESS: Progress()}, "signals": PAUSES}, ["cancel", "pause"]),
        ({"answers": {Query.PROGRESS: Progress(paused=True)}, "signals": PAUSES}, ["cancel", "unpause"]),
        ({"signals": PAUSES}, ["cancel", "pause", "unpause"]),
        ({"signals": frozenset({"cancel", "release"})}, ["cancel"]),
        (
            {"signals": frozenset({"cancel", "release"}), "queries": frozenset({"get_circuit_status"})},
            ["cancel", "release"],
        ),
        ({"open": False, "attributes": {"WaitingFor": "approval"}}, []),
    ],
)
def test_what_is_offered_follows_from_what_is_known(known, offered):
    assert names(target(**{"signals": frozenset({"cancel"}), **known})) == offered


@pytest.mark.parametrize(
    ("signals", "workflow_type", "name"),
    [
        (frozenset({"cancel"}), "Foreign", "cancel"),
        (frozenset({"approve"}), "Foreign", "request_cancel"),
        (None, "OrderWorkflow", "cancel"),
        (None, "Foreign", "request_cancel"),
    ],
)
def test_a_signal_is_never_sent_to_a_workflow_that_would_drop_it(server, signals, workflow_type, name):
    assert names(target(signals=signals, workflow_type=workflow_type)) == [name]


def test_a_page_shows_the_actions_of_its_place():
    waits = {"WaitingFor": "approval"}
    circuit = frozenset({"get_circuit_status"})
    on = target(signals=EVERY_SIGNAL, queries=circuit, attributes=waits)
    assert names(on, "approvals") == ["approve", "reject"]
    assert names(on, "breakers") == ["force_open", "force_close", "release", "probe"]
    assert names(on, "bulk") == ["approve", "reject", "cancel"]


def test_a_button_is_disabled_by_role_first_then_by_the_workflows_policy():
    asked = {Query.APPROVAL: question()}
    (approve, reject, _) = buttons(
        target(BEN, signals=EVERY_SIGNAL - {"pause", "unpause"}, answers=asked), "run"
    )[:3]
    assert approve.why == "Your role may not approve. Requires the role approver or admin."
    fran = Viewer("fran", frozenset({"admin"}))
    approve, _ = buttons(target(fran, answers=asked), "approvals")
    assert approve.why == "This needs the role approver."
    approve, _ = buttons(target(ANNA, answers=asked), "approvals")
    assert approve.why == ""
    assert reject.action.tone == "stop"


@pytest.mark.parametrize(
    ("found", "hint"),
    [
        (["approve", "reject"], "Required to reject; kept in the audit log."),
        (["approve", "reject", "cancel"], "Required to reject or cancel; kept in the audit log."),
        (["unpause"], "Optional; kept in the audit log."),
        (["force_open", "release"], "Required; kept in the audit log."),
    ],
)
def test_a_form_says_when_it_needs_a_reason(found, hint):
    assert reason_hint(actions()[name] for name in found) == hint


def test_buttons_of_one_form_share_its_fields_and_a_field_is_required_where_all_demand_it():
    on = target(signals=EVERY_SIGNAL, queries=frozenset({"get_circuit_status"}), held=["order-7"])
    (form,) = forms(on, "breakers")
    assert [field.name for field in form.fields] == ["duration", "workflow_id", "reason"]
    assert "order-7" in str(form.fields[1])
    assert " required" in str(form.fields[2])
    assert " required" not in str(form.fields[0])
    (form,) = forms(target(attributes={"WaitingFor": "approval"}), "approvals")
    assert " required" not in str(form.fields[0])
    ids = [field.id_for_label for field in form.fields]
    assert ids == [f"reason-{form.html_id}"]
    assert f'aria-describedby="{ids[0]}_helptext"' in str(form.fields[0])


def test_a_form_comes_back_with_all_buttons_and_all_that_was_typed():
    on = target(signals=EVERY_SIGNAL, queries=frozenset({"get_circuit_status"}))
    made = form_id("ada", "order-1", "r")
    typed = Typed("release", {"reason": " ", "duration": "240", "workflow_id": "", "form_id": made})
    (form,) = forms(on, "breakers", typed)
    duration, _, reason = form.fields
    assert form.form_id == made
    assert len(form.buttons) == 4
    assert '<option value="240" selected>' in str(duration)
    assert 'aria-invalid="true"' in str(reason)
    assert f'aria-describedby="{reason.auto_id}_helptext {reason.auto_id}_error"' in str(reason)


def test_a_breaker_of_all_tenants_is_not_operated_by_one(settings):
    settings.DASHBOARD = settings.DASHBOARD.model_copy(update={"tenancy": "attribute"})
    shared = Subject("default", "breaker-payments", "r", "default")

    def why(viewer: Viewer) -> str:
        on = Target(viewer, shared, signals=frozenset({"release"}), queries=frozenset({"get_circuit_status"}))
        (button,) = buttons(on, "breakers")
        return button.why

    assert why(Viewer("otto", frozenset({"operator"}), "acme")) == breaker.SHARED
    assert "operate breakers" in why(Viewer("vera", frozenset({"viewer"}), "acme"))
    assert why(Viewer("otto", frozenset({"operator"}), "default")) == ""
    assert why(Viewer("root", superuser=True)) == ""


def test_an_action_that_cannot_say_whether_it_is_offered_is_not(monkeypatch, caplog):
    broken = replace(actions()["pause"], name="broken", offered=lambda on: Offer(on.nothing))
    monkeypatch.setitem(extend._actions, "broken", broken)
    assert names(target(signals=frozenset({"cancel"}))) == ["cancel"]
    assert "Action broken failed" in caplog.text


def test_an_action_that_destroys_requires_a_reason():
    with pytest.raises(ImproperlyConfigured, match="must require a reason"):
        Action(
            name="drop",
            signal="drop",
            label="Drop",
            done="Dropped",
            permission=Permission("drop"),
            offered=lambda on: Offer(),
            tone="stop",
        )


def test_forms_change_their_version_with_what_is_offered_to_this_viewer_alone():
    def version(viewer: Viewer = ADA, **known: Any) -> str:
        return version_of(forms(target(viewer, signals=frozenset({"cancel"}), **known), "run"))

    pending = {Query.APPROVAL: question()}
    assert version(answers=pending) == version(answers=pending)
    voted = {Query.APPROVAL: question(votes=[Vote(actor="anna", approve=True)])}
    others = [version(), version(ANNA), version(ANNA, answers=pending), version(ANNA, answers=voted)]
    assert len(set(others)) == len(others)
    assert version(open=False) == "none"
    stuck = [{Query.SAGA: SagaStatus(state="stuck", steps=steps)} for steps in (STUCK[:1], STUCK)]
    assert len({version(answers=answers) for answers in stuck}) == 2


STUCK = [StepStatus(name=name, status=StepState.STUCK) for name in ("charge", "ship")]
