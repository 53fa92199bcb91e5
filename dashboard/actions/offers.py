"""Which actions a viewer is offered on a run, as forms: each registered action says so itself."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django.forms import BoundField

from dashboard.access import Subject, Verb, Viewer, authorise, client_for, may
from dashboard.extend import Action, Group, Offer, Place, Target, actions
from dashboard.form_ids import issue, nonce_of
from dashboard.forms import ActionForm
from dashboard.temporal_api.answers import RunAnswers, ask, latest_answers, models
from dashboard.temporal_api.rows import Row, subject_of
from dashboard.temporal_api.run import MAX_WAIT, RunPage, describe_run, query_target
from dashboard.temporal_api.scan import held_ids
from workers.contracts import CircuitStatus, Query

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Button:
    """The button of an action; `why` says why it is disabled."""

    action: Action
    why: str = ""


@dataclass(frozen=True, slots=True)
class OfferedForm:
    """Buttons that share fields; `fields` are those of all of them, the reason last. `form_id` is made with
    the form, so that a second click gets the first answer."""

    group: Group
    buttons: list[Button]
    fields: list[BoundField]
    form_id: str
    html_id: str

    @property
    def names(self) -> str:
        """Names of the actions, for the form to come back whole."""
        return " ".join(button.action.name for button in self.buttons)


@dataclass(frozen=True, slots=True)
class Typed:
    """What a viewer sent with the button of `action`, to be shown again."""

    action: str
    data: Mapping[str, Any] = field(default_factory=dict)


def target_of(viewer: Viewer, row: Row, known: RunAnswers, **more: Any) -> Target:
    """A described run with its answers as a target."""
    declared = known.interface
    return Target(
        viewer,
        subject_of(row),
        row.workflow_type,
        open=row.open,
        signals=declared.signals if declared else None,
        queries=declared.queries if declared else frozenset(),
        attributes=row.attributes,
        answers=models(known),
        **more,
    )


async def _with_held(target: Target) -> Target:
    status = target.answer(Query.CIRCUIT, CircuitStatus)
    held = await held_ids(target.viewer, status.dependency) if status else []
    return replace(target, held=held)


async def run_target(viewer: Viewer, run: RunPage) -> Target:
    """A run that was read for its page as a target."""
    return await _with_held(target_of(viewer, run.row, run.answers))


def remembered_target(viewer: Viewer, subject: Subject) -> Target:
    """A run by what it answered last, without reading anything; its answers give the forms their choices.
    Only for a viewer who is known to see the run."""
    known = latest_answers(subject.namespace, subject.workflow_id, subject.run_id)
    return Target(viewer, subject, answers=models(known))


async def read_target(viewer: Viewer, workflow_id: str, run_id: str) -> Target:
    """A run as a target, read now. Raises Hidden, RunNotFound, TemporalUnavailable."""
    client = await client_for(viewer)
    described, row = await describe_run(client, workflow_id, run_id)
    authorise(viewer, Verb.VIEW, subject_of(row))
    query = query_target(row, described, described.execution_config.task_queue.name)
    return await _with_held(target_of(viewer, row, await ask(client, query, MAX_WAIT)))


def _why(target: Target, action: Action, own: str) -> str:
    """The role first, then what the action itself says, then the tenant."""
    viewer, permission = target.viewer, action.permission
    return may(viewer, permission) or own or may(viewer, permission, target.subject)


def offer(target: Target, action: Action) -> Offer | None:
    """Whether an action is offered; one that cannot say so is not: it must not take the page with it."""
    try:
        return action.offered(target)
    except Exception:
        logger.exception("Action %s failed to say whether it is offered.", action.name)
        return None


def buttons(target: Target, place: Place) -> list[Button]:
    """The buttons of all actions that make sense on the target now, in their order."""
    if not target.open:
        return []
    offers = ((action, offer(target, action)) for action in actions(place).values())
    return [Button(action, _why(target, action, offer.why)) for action, offer in offers if offer]


def reason_hint(found: Iterable[Action]) -> str:
    """When the reason that some actions share is required, as a sentence."""
    found = [*found]
    strict = [action.label.lower() for action in found if action.form.reason_required]
    if len(strict) == len(found):
        return "Required; kept in the audit log."
    if not strict:
        return "Optional; kept in the audit log."
    *first, last = strict
    words = f"{', '.join(first)} or {last}" if first else last
    return f"Required to {words}; kept in the audit log."


def _fields(made: Mapping[Action, ActionForm], typed: str) -> list[BoundField]:
    """One field of each name: that of the form that was sent, where there is one, with its errors."""
    fields: dict[str, BoundField] = {}
    for action, form in made.items():
        for bound in form.visible_fields():
            if bound.name not in fields or action.name == typed:
                fields[bound.name] = bound
    fields["reason"] = reason = fields.pop("reason")
    for name, bound in fields.items():
        if all(name in form.fields and form.fields[name].required for form in made.values()):
            bound.field.widget.attrs["required"] = True
    reason.help_text = reason_hint(made)
    return [*fields.values()]


def form_of(target: Target, group: Group, found: list[Button], typed: Typed | None = None) -> OfferedForm:
    """The form for some buttons; with `typed`, as it was sent and with what has to be corrected."""
    data = dict(typed.data) if typed else {}
    at = (target.viewer, target.subject.workflow_id, target.subject.run_id)
    form_id = str(data.get("form_id") or "")
    nonce = nonce_of(form_id, *at)
    if not nonce and target.viewer.name:  # without a login, the id waits for the viewer to come back
        form_id = issue(*at)
        nonce = nonce_of(form_id, *at)
    data["form_id"] = form_id
    html_id = (nonce or uuid.uuid4().hex)[:12]
    made = {}
    for button in found:
        sent = data if typed and button.action.name == typed.action else None
        made[button.action] = button.action.form(target, sent, initial=data, auto_id=f"%s-{html_id}")
    return OfferedForm(group, found, _fields(made, typed.action if typed else ""), form_id, html_id)


def forms(
    target: Target, place: Place, typed: Typed | None = None, names: Collection[str] | None = None
) -> list[OfferedForm]:
    """The forms for all that is offered (with `names`: of these), the main one first."""
    groups: dict[Group, list[Button]] = {}
    for button in buttons(target, place):
        if names is None or button.action.name in names:
            groups.setdefault(button.action.group, []).append(button)
    return [form_of(target, group, found, typed) for group, found in groups.items()]


def version_of(offered: Iterable[OfferedForm]) -> str:
    """The same text for the same buttons, reasons and choices that must be made: forms on a page are replaced
    when it changes, and left alone otherwise."""
    parts = [
        (
            form.group.title,
            [(button.action.name, button.why) for button in form.buttons],
            _required_choices(form),
        )
        for form in offered
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12] if parts else "none"


def _required_choices(form: OfferedForm) -> list[str]:
    return [
        str(value)
        for bound in form.fields
        if bound.field.required
        for value, _ in getattr(bound.field.widget, "choices", ())
    ]
