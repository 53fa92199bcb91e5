"""One action of a viewer on a run, from what was typed to the workflow's verdict."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any

from dashboard.access import Subject, Viewer, authorise, client_for
from dashboard.audit.record import recorded
from dashboard.conf import conf
from dashboard.errors import Invalid
from dashboard.extend import Action, Target
from dashboard.forms import ActionForm
from dashboard.temporal_api.decisions import deliver, find_run
from workers.contracts import Decision, Verdict


def _valid(viewer: Viewer, action: Action, subject: Subject, data: Mapping[str, Any]) -> ActionForm:
    form = action.form(Target(viewer, subject), data)
    if not form.is_valid():
        raise Invalid({name: str(errors[0]) for name, errors in form.errors.items()})
    return form


def _decision(viewer: Viewer, form: ActionForm, chain: str) -> Decision:
    """The decision of `viewer`, whose identity comes from the login alone."""
    identity = {"actor": viewer.name, "roles": sorted(viewer.roles), "at": datetime.now(UTC), "chain": chain}
    return Decision(**{**form.decision(), **identity})


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
    the same `decision_id` again gives the same answer. The verdict is waited for until `deadline` (of
    time.monotonic(); default: in VERDICT_SECONDS); `gate` (a semaphore) is held while Temporal is
    called before that, so that many of these can be gathered. Raises Invalid, Forbidden, Hidden, RunNotFound,
    Closed, TemporalUnavailable, and DatabaseError when the intent cannot be recorded.
    """
    gate = gate or nullcontext()
    authorise(viewer, action.permission)
    form = _valid(viewer, action, Subject(viewer.namespace, workflow_id, run_id, None), data)
    client = await client_for(viewer)
    async with gate:
        shown = await find_run(client, workflow_id, run_id)
    subject = Subject(viewer.namespace, workflow_id, shown.run_id, shown.tenant)
    authorise(viewer, action.permission, subject)
    decision = _decision(viewer, form, shown.chain)
    about = {"decision_id": decision.decision_id, "reason": decision.reason, "detail": form.detail()}
    async with recorded(viewer, action.name, subject, **about) as record:
        end = time.monotonic() + conf().verdict_seconds if deadline is None else deadline
        record.verdict = await deliver(client, shown, action.signal, decision, end, gate)
    return record.verdict
