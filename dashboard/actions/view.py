"""Where the buttons of all actions on a run post to."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_POST

from dashboard.access import ConsoleRequest, Subject, console
from dashboard.actions.decide import decide
from dashboard.actions.offers import Button, OfferedForm, Typed, form_of, forms, read_target
from dashboard.actions.verdicts import tell
from dashboard.errors import Closed, Invalid
from dashboard.extend import Action, Target, actions
from dashboard.web.login import safe_next
from workers.client.errors import TemporalUnavailable
from workers.contracts import Verdict

CLOSED = 409


@dataclass(frozen=True, slots=True)
class Failure:
    """Why nothing was sent: the status of the answer, and a note above the form."""

    status: int
    note: str


@require_POST
@console()
async def perform_action(request: ConsoleRequest, workflow_id: str, run_id: str, action: str) -> HttpResponse:
    """One action, authorised by `decide`. 303 when it is sent (for htmx, the verdict as a fragment), else the
    form again: 409 closed, 422 to correct, 503 Temporal away."""
    if (chosen := actions().get(action)) is None:
        raise Http404
    try:
        verdict = await decide(request.viewer, chosen, workflow_id, run_id, request.POST)
    except Invalid as error:
        note = f"Nothing has changed yet. {error.errors.get('decision_id', '')}".strip()
        failure = Failure(422, note)
    except Closed as error:
        stored = tell(chosen, workflow_id, error.verdict).text if error.verdict else ""
        failure = Failure(CLOSED, f"{error.message} {stored}".strip())
    except TemporalUnavailable as error:
        failure = Failure(503, f"{error.message} Your text is kept; send it again in a moment.")
    else:
        return await sync_to_async(_verdict)(request, chosen, workflow_id, run_id, verdict)
    subject = Subject(request.viewer.namespace, workflow_id, run_id, None)
    form = await _again(request, chosen, subject, failure)
    return await sync_to_async(_failed)(request, chosen, workflow_id, run_id, form, failure)


def _verdict(
    request: ConsoleRequest, action: Action, workflow_id: str, run_id: str, verdict: Verdict
) -> HttpResponse:
    message = tell(action, workflow_id, verdict)
    target = safe_next(request, reverse("run", args=[request.viewer.namespace, workflow_id, run_id]))
    if request.htmx:  # a fragment needs nothing of what pages have in common
        return HttpResponse(
            render_to_string("dashboard/actions/_verdict.html", {"message": message, "next": target})
        )
    messages.add_message(request, message.level, message.text)
    return HttpResponse(status=303, headers={"Location": target})


async def _again(request: ConsoleRequest, action: Action, subject: Subject, failure: Failure) -> OfferedForm:
    """The form as it was, all its buttons with it, and with what was typed. Where Temporal is away, or the
    run has closed, it is made of the buttons that the viewer had."""
    typed = Typed(action.name, request.POST.dict())
    names = [action.name, *request.POST.get("actions", "").split()]
    target = Target(request.viewer, subject)
    if failure.status == 422:
        with suppress(TemporalUnavailable):
            target = await read_target(request.viewer, subject.workflow_id, subject.run_id)
        for form in await sync_to_async(forms)(target, "run", typed, names):
            if any(button.action is action for button in form.buttons):
                return form
    why = "The workflow is closed." if failure.status == CLOSED else ""
    known = [other for name, other in actions().items() if name in names and other.group == action.group]
    return form_of(target, action.group, [Button(other, why) for other in known], typed)


def _failed(
    request: ConsoleRequest,
    action: Action,
    workflow_id: str,
    run_id: str,
    form: OfferedForm,
    failure: Failure,
) -> HttpResponse:
    """A fragment for htmx, else a page of its own."""
    context = {
        "workflow_id": workflow_id,
        "run_id": run_id,
        "title": f"{action.label} {workflow_id}",
        "form": form,
        "next": safe_next(request, reverse("run", args=[request.viewer.namespace, workflow_id, run_id])),
        "note": failure.note,
        "heading": action.label,
    }
    name = "_form" if request.htmx else "page"
    return render(request, f"dashboard/actions/{name}.html", context, status=failure.status)
