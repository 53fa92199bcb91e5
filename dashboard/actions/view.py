"""Where the buttons of all actions on a run post to, and where a verdict that came later can be seen."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from dashboard.access import (
    ConsoleRequest,
    Subject,
    Verb,
    Viewer,
    authorise,
    client_for,
    console,
    viewer_in,
)
from dashboard.actions.decide import decide
from dashboard.actions.failures import OLD_FORM, Failure, failure_of
from dashboard.actions.offers import (
    Button,
    OfferedForm,
    Typed,
    form_of,
    forms,
    read_target,
    remembered_target,
)
from dashboard.actions.verdicts import tell
from dashboard.audit.record import was_intended
from dashboard.errors import OutcomeUnknown
from dashboard.extend import Action, Target, actions
from dashboard.form_ids import nonce_of
from dashboard.temporal_api.decisions import find_run, verdict_on
from dashboard.web import errors
from dashboard.web.login import safe_next
from workers.client.errors import TemporalError
from workers.contracts import Outcome, Verdict

logger = logging.getLogger(__name__)
UNSETTLED = (Outcome.PENDING, Outcome.UNKNOWN)


@require_POST
async def perform_action(
    request: ConsoleRequest, workflow_id: str, run_id: str, action: str, namespace: str = ""
) -> HttpResponse:
    """One action, authorised by `decide`. 303 when it is sent (for htmx, the verdict as a fragment). Whatever
    goes wrong, the form again with what was typed: see `failures`."""
    if (chosen := actions().get(action)) is None:
        raise Http404
    try:
        where = {"workflow_id": workflow_id, "run_id": run_id, "namespace": namespace}
        return await _performed(request, action=chosen, **where)  # type: ignore[return-value]
    except Exception as error:
        failure = failure_of(error, chosen, workflow_id)
        if failure is None:
            raise
        if failure.status == 500:
            logger.exception("%s of %s failed.", action, workflow_id)
    viewer = getattr(request, "viewer", None) or Viewer("")
    subject = Subject(viewer.namespace, workflow_id, run_id, None)
    form = await _again(request, viewer, chosen, subject, failure)
    return await sync_to_async(form_page)(request, chosen, subject, form, failure)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The form of an action again, with a token that is valid, where it was made for this viewer: a login in
    another tab replaces the token. Any other form without its token gets a page."""
    match, user = request.resolver_match, getattr(request, "user", None)
    chosen = actions().get(str(match.kwargs.get("action"))) if match and match.url_name == "action" else None
    if match is None or chosen is None or user is None or not user.is_authenticated:
        return errors.csrf_failure(request, reason)
    viewer = viewer_in(request)
    subject = Subject(viewer.namespace, match.kwargs["workflow_id"], match.kwargs["run_id"], None)
    if not nonce_of(request.POST.get("form_id", ""), viewer, subject.workflow_id, subject.run_id):
        return errors.csrf_failure(request, reason)
    request.viewer = viewer  # type: ignore[attr-defined]
    form = same_form(request, viewer, chosen, subject)
    return form_page(request, chosen, subject, form, Failure(403, OLD_FORM))


@console()
async def _performed(request: ConsoleRequest, workflow_id: str, run_id: str, action: Action) -> HttpResponse:
    verdict = await decide(request.viewer, action, workflow_id, run_id, request.POST)
    try:
        return await sync_to_async(_verdict)(request, action, workflow_id, run_id, verdict)
    except Exception as error:
        raise OutcomeUnknown from error  # it was sent, whatever happened to the answer


@require_safe
@console(Verb.VIEW)
async def show_verdict(
    request: ConsoleRequest, workflow_id: str, run_id: str, action: str, decision: str
) -> HttpResponse:
    """What the workflow says by now about a decision that was sent from here before."""
    if (chosen := actions().get(action)) is None:
        raise Http404
    client = await client_for(request.viewer)
    run = await find_run(client, workflow_id, run_id)
    subject = Subject(request.viewer.namespace, workflow_id, run.run_id, run.tenant)
    authorise(request.viewer, Verb.VIEW, subject)
    if not await was_intended(subject, action, decision):
        raise Http404
    verdict = await verdict_on(client, run, decision)
    context = _shown(
        request, chosen, workflow_id, run_id, verdict.model_copy(update={"decision_id": decision})
    )
    return await sync_to_async(render)(
        request, f"dashboard/actions/{'_verdict' if request.htmx else 'verdict'}.html", context
    )


def _shown(
    request: ConsoleRequest, action: Action, workflow_id: str, run_id: str, verdict: Verdict
) -> dict[str, Any]:
    """What the templates of a verdict show; `result` leads back to it while it is not settled."""
    run = [request.viewer.namespace, workflow_id, run_id]
    later = verdict.outcome in UNSETTLED and verdict.decision_id and action.signal
    return {
        "message": tell(action, workflow_id, verdict),
        "next": safe_next(request, reverse("run", args=run)),
        "result": reverse("verdict", args=[*run, action.name, verdict.decision_id]) if later else "",
        "title": f"{action.label} {workflow_id}",
        "heading": action.label,
        "workflow_id": workflow_id,
    }


def _verdict(
    request: ConsoleRequest, action: Action, workflow_id: str, run_id: str, verdict: Verdict
) -> HttpResponse:
    shown = _shown(request, action, workflow_id, run_id, verdict)
    if request.htmx:  # a fragment needs nothing of what pages have in common
        return HttpResponse(render_to_string("dashboard/actions/_verdict.html", shown))
    messages.add_message(request, shown["message"].level, shown["message"].text)
    return HttpResponse(status=303, headers={"Location": shown["result"] or shown["next"]})


async def _again(
    request: HttpRequest, viewer: Viewer, action: Action, subject: Subject, failure: Failure
) -> OfferedForm:
    """The form as it was, all its buttons with it, and with what was typed. Where the run is not read again,
    it is made of the buttons that the viewer had, and of what the run answered last."""
    if failure.status == 422:
        typed, names = _typed(request, action)
        with suppress(TemporalError, PermissionDenied, Http404):
            target = await read_target(viewer, subject.workflow_id, subject.run_id)
            for form in await sync_to_async(forms)(target, "run", typed, names):
                if any(button.action is action for button in form.buttons):
                    return form
    return await sync_to_async(same_form)(request, viewer, action, subject, failure.why)


def _typed(request: HttpRequest, action: Action) -> tuple[Typed, list[str]]:
    return Typed(action.name, request.POST.dict()), [action.name, *request.POST.get("actions", "").split()]


def same_form(
    request: HttpRequest, viewer: Viewer, action: Action, subject: Subject, why: str = ""
) -> OfferedForm:
    """The form that was posted, without reading anything. `why` disables its buttons."""
    typed, names = _typed(request, action)
    # The signature says that this viewer was shown the run: its answers are no secret to them.
    genuine = nonce_of(request.POST.get("form_id", ""), viewer, subject.workflow_id, subject.run_id)
    target = remembered_target(viewer, subject) if genuine else Target(viewer, subject)
    known = [other for name, other in actions().items() if name in names and other.group == action.group]
    return form_of(target, action.group, [Button(other, why) for other in known], typed)


def form_page(
    request: HttpRequest, action: Action, subject: Subject, form: OfferedForm, failure: Failure
) -> HttpResponse:
    """A fragment for htmx, else a page of its own."""
    run = [subject.namespace, subject.workflow_id, subject.run_id]
    context = {
        "workflow_id": subject.workflow_id,
        "run_id": subject.run_id,
        "title": f"{action.label} {subject.workflow_id}",
        "form": form,
        "next": safe_next(request, reverse("run", args=run)),
        "failure": failure,
        "heading": action.label,
    }
    name = "_form" if request.headers.get("HX-Request") else "page"
    response = render(request, f"dashboard/actions/{name}.html", context, status=failure.status)
    if failure.retry_after:
        response.headers["Retry-After"] = str(failure.retry_after)
    return response
