"""What a viewer reads beside the button when an action has failed, and the status of the answer."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import DatabaseError
from django.http import Http404

from dashboard.access import Forbidden, LoginRequired, UnknownNamespace
from dashboard.actions.verdicts import tell
from dashboard.errors import Closed, Invalid, NotRecorded, NotTaken, OutcomeUnknown, TooMany
from dashboard.extend import Action
from workers.client.errors import RunNotFound, TemporalError

NOT_DONE, NOT_KNOWN = "Not done", "Not known"
AGAIN = 5  # seconds until a server that was away is tried again
SIGNED_OUT = (
    "You are signed out, so nothing was sent. Sign in in another tab, then send it again from this one."
)
OLD_FORM = "Nothing was sent, as this form is older than your login. Your text is kept; send it again."
DATABASE = "The database refuses, so nothing was sent. Your text is kept; send it again in a moment."
ERROR = "An error in the console, before anything was sent; it is in the log. Your text is kept."


@dataclass(frozen=True, slots=True)
class Failure:
    """`word` and `note` stand above the form, `why` disables its buttons, `sign_in` offers a login beside it.
    `retry_after` is in seconds."""

    status: int
    note: str
    word: str = NOT_DONE
    why: str = ""
    sign_in: bool = False
    retry_after: int = 0


def _closed(error: Closed, action: Action, workflow_id: str) -> Failure:
    stored = tell(action, workflow_id, error.verdict).text if error.verdict else ""
    return Failure(409, f"{error.message} {stored}".strip(), why="The workflow is closed.")


def _unknown(error: OutcomeUnknown) -> Failure:
    away = isinstance(error.__cause__, (TemporalError, DatabaseError))
    return Failure(503 if away else 500, error.message, NOT_KNOWN, retry_after=AGAIN if away else 0)


def _without_right(error: Exception, workflow_id: str) -> Failure | None:
    """No login, no permission, or no such workflow for this viewer; which of the last two, is not said."""
    match error:
        case UnknownNamespace():
            return None
        case LoginRequired():
            return Failure(401, SIGNED_OUT, sign_in=True)
        case Forbidden():
            return Failure(403, str(error))
    text = f"There is no workflow {workflow_id}. Its retention may be over, or another tenant has it."
    return Failure(404, text)


def _unavailable(error: Exception) -> Failure:
    """Temporal or the database refuses, before anything was sent; or an error of ours."""
    match error:
        case NotRecorded():
            return Failure(503, f"{error.message} Your text is kept.", retry_after=AGAIN)
        case TemporalError():
            text = f"{error.message} Your text is kept; send it again in a moment."
            return Failure(503, text, retry_after=AGAIN)
        case DatabaseError():
            return Failure(503, DATABASE, retry_after=AGAIN)
    return Failure(500, ERROR)


def failure_of(error: Exception, action: Action, workflow_id: str) -> Failure | None:
    """How a failed action is answered. None: with a page of its own, as its address leads nowhere."""
    match error:
        case LoginRequired() | Forbidden() | Http404() | RunNotFound():
            return _without_right(error, workflow_id)
        case Invalid():
            return Failure(422, f"Nothing has changed yet. {error.errors.get('form_id', '')}".strip())
        case Closed():
            return _closed(error, action, workflow_id)
        case NotTaken():
            return Failure(409, error.message)
        case TooMany():
            return Failure(429, f"{error.message} Your text is kept.", retry_after=error.seconds)
        case OutcomeUnknown():
            return _unknown(error)
    return _unavailable(error)
