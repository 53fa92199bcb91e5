"""One action of a viewer on a run, from what was typed to the workflow's verdict."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any

from dashboard.access import Subject, Viewer, authorise, client_for
from dashboard.actions.limits import count_request
from dashboard.actions.taken import check_taken
from dashboard.audit.record import recorded
from dashboard.conf import conf
from dashboard.errors import Closed, Invalid, OutcomeUnknown
from dashboard.extend import Action, Target
from dashboard.form_ids import NOT_OURS, decision_id, nonce_of
from dashboard.forms import ActionForm
from dashboard.temporal_api.decisions import deliver, find_run
from workers.client.errors import RunNotFound
from workers.contracts import Decision, Outcome, Verdict


def _valid(viewer: Viewer, action: Action, subject: Subject, data: Mapping[str, Any]) -> ActionForm:
    form = action.form(Target(viewer, subject), data)
    if not form.is_valid():
        raise Invalid({name: str(errors[0]) for name, errors in form.errors.items()})
    return form


def _decision(viewer: Viewer, form: ActionForm, decision_id: str, chain: str) -> Decision:
    """The decision of `viewer`, whose identity comes from the login alone."""
    identity = {
        "decision_id": decision_id,
        "actor": viewer.name,
        "roles": sorted(viewer.roles),
        "at": datetime.now(UTC),
        "chain": chain,
    }
    return Decision(**{**form.decision(), **identity})


def _own(verdict: Verdict, decision: Decision, action: Action) -> Verdict:
    """The verdict, unless it is on the decision of another person, or by another signal, with the same id."""
    if verdict.actor in ("", decision.actor) and verdict.signal in ("", action.signal):
        return verdict
    other = (
        f"The id of this decision belongs to {verdict.signal or 'another'} by {verdict.actor or 'another'}."
    )
    return Verdict(
        decision_id=decision.decision_id, outcome=Outcome.REFUSED, detail=f"{other} Nothing was done."
    )


async def decide(
    viewer: Viewer,
    action: Action,
    workflow_id: str,
    run_id: str,
    data: Mapping[str, Any],
    *,
    deadline: float | None = None,
    gate: AbstractAsyncContextManager[Any] | None = None,
) -> Verdict:
    """Authorise, audit the intent, send the decision, wait for what the workflow made of it, audit that.

    `run_id` is the run that was shown (empty: the newest), `data` the fields of the action's form. Sending
    the same `form_id` again gives the same answer. The verdict is waited for until `deadline` (of
    time.monotonic(); default: in VERDICT_SECONDS); `gate` (a semaphore) is held while Temporal is
    called before that, so that many of these can be gathered.

    Raises, with nothing sent: Invalid, Forbidden, Hidden, RunNotFound, Closed, NotTaken, TooMany,
    NotRecorded, TemporalUnavailable. Raises OutcomeUnknown where it fails while it is sent.
    """
    gate = gate or nullcontext()
    authorise(viewer, action.permission)
    form = _valid(viewer, action, Subject(viewer.namespace, workflow_id, run_id, None), data)
    await count_request(viewer, workflow_id)
    client = await client_for(viewer)
    async with gate:
        shown = await find_run(client, workflow_id, run_id)
    subject = Subject(viewer.namespace, workflow_id, shown.run_id, shown.tenant)
    authorise(viewer, action.permission, subject)
    form_id = form.cleaned_data["form_id"]
    genuine = bool(nonce_of(form_id, viewer, workflow_id, run_id))
    made = decision_id(form_id, viewer, action.name, workflow_id, shown.chain) if genuine else ""
    decision = _decision(viewer, form, made, shown.chain)
    about = {"decision_id": made, "reason": decision.reason, "detail": form.detail()}
    async with recorded(viewer, action.name, subject, **about) as record:
        if not genuine:
            raise Invalid({"form_id": NOT_OURS})
        await check_taken(client, viewer, action, shown, subject)
        end = time.monotonic() + conf().verdict_seconds if deadline is None else deadline
        try:
            verdict = await deliver(client, shown, action.signal, decision, end, gate)
        except (Closed, RunNotFound):
            raise
        except Exception as error:
            raise OutcomeUnknown from error
        record.verdict = _own(verdict, decision, action)
    return record.verdict
