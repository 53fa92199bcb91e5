"""Where the buttons of all acts on a workflow post to: approve, cancel, force open and so on."""

from __future__ import annotations

import uuid
from typing import cast

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from dashboard.access import ConsoleRequest, Verb, console
from dashboard.actions import decisions
from dashboard.actions.fields import FIELDS, Fields
from dashboard.actions.forms import Form
from dashboard.actions.kinds import ACTS, KINDS, LABELS, Choice
from dashboard.errors import Closed, Invalid
from dashboard.states import look
from dashboard.web.login import safe_next
from workers.client.errors import TemporalUnavailable
from workers.contracts import Outcome, Verdict

CLOSED = 409
# Levels of Django's messages by the tone of the outcome.
LEVELS = {"done": messages.SUCCESS, "stop": messages.ERROR, "rest": messages.INFO, "wait": messages.WARNING}


def say(act: str, workflow_id: str, verdict: Verdict) -> str:
    """A verdict as a sentence or two: the workflow's own words, or ours."""
    by = f" by {verdict.by}" if verdict.by else ""
    match verdict.outcome:
        case Outcome.APPLIED:
            return f"{KINDS[ACTS[act]].done} {workflow_id}. {verdict.detail}".strip()
        case Outcome.REFUSED:
            return f"{workflow_id} refused it. {verdict.detail}".strip()
        case Outcome.ALREADY_DECIDED:
            return f"{workflow_id} was decided already{by}. {verdict.detail}".strip()
        case _:
            return f"{workflow_id}: {verdict.detail}"


def _again(
    request: ConsoleRequest,
    kwargs: dict[str, str],
    status: int,
    note: str,
    errors: dict[str, str] | None = None,
) -> HttpResponse:
    """The form once more, with what was typed into it; a fragment for htmx, else a page of its own."""
    typed = {name: request.POST.get(name, "") for name in FIELDS}
    act = kwargs["act"]
    button = Choice(act, LABELS[act], "The workflow is closed." if status == CLOSED else "")
    context = {
        **kwargs,
        "title": f"{LABELS[act]} {kwargs['workflow_id']}",
        "form": Form([button], decision_id=typed["decision_id"] or str(uuid.uuid4())),
        "next": safe_next(request, _run_url(request, kwargs)),
        "typed": typed,
        "errors": errors or {},
        "note": note,
    }
    name = "_form" if request.htmx else "page"
    return render(request, f"dashboard/actions/{name}.html", context, status=status)


def _run_url(request: ConsoleRequest, kwargs: dict[str, str]) -> str:
    return reverse("run", args=[request.viewer.namespace, kwargs["workflow_id"], kwargs["run_id"]])


def _done(request: ConsoleRequest, kwargs: dict[str, str], verdict: Verdict) -> HttpResponse:
    text = say(kwargs["act"], kwargs["workflow_id"], verdict)
    target = safe_next(request, _run_url(request, kwargs))
    if request.htmx:
        context = {"look": look(verdict.outcome, "outcome"), "text": text, "next": target}
        return render(request, "dashboard/actions/_verdict.html", context)
    messages.add_message(request, LEVELS[look(verdict.outcome, "outcome").tone], text)
    return HttpResponse(status=303, headers={"Location": target})


@require_POST
@console(Verb.VIEW)
async def decide(request: ConsoleRequest, workflow_id: str, run_id: str, act: str) -> HttpResponse:
    """One decision. 303 when it is sent, else the form again: 409 closed, 422 to correct, 503 Temporal
    away."""
    if act not in ACTS:
        raise Http404
    kwargs = {"workflow_id": workflow_id, "run_id": run_id, "act": act}
    fields = cast(Fields, {name: request.POST.get(name, "") for name in FIELDS})
    again = sync_to_async(_again)
    try:
        verdict = await decisions.decide(request.viewer, workflow_id, run_id, ACTS[act], **fields)
    except Invalid as error:
        return await again(request, kwargs, 422, "Nothing has changed yet.", error.errors)
    except Closed as error:
        stored = say(act, workflow_id, error.verdict) if error.verdict else ""
        return await again(request, kwargs, CLOSED, f"{error.message} {stored}".strip())
    except TemporalUnavailable as error:
        return await again(
            request, kwargs, 503, f"{error.message} Your text is kept; send it again in a moment."
        )
    return await sync_to_async(_done)(request, kwargs, verdict)
