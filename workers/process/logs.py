"""What processes log: each line says about which run and activity it is, and never shows what is secret.

Whatever logs inside of an activity or of workflow code, with any logger, gets these fields: workflow, run,
type, activity, attempt, tenant, environment, queue. LOG_FORMAT=json writes one object a line.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_jsonable_python
from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError, CancelledError

from workers.client.errors import TemporalError
from workers.client.tenancy import (
    ENVIRONMENT_HEADER,
    TENANT_HEADER,
    current_environment,
    current_tenant,
    header_text,
)
from workers.interceptors.tenancy import OtherTenant
from workers.payloads.redaction import redact_named, redact_text

# Errors of pydantic repeat what was sent.
_INPUTS = re.compile(r"input_value=.*?, (?=input_type=)", re.DOTALL)
# All but the tab: also what some viewers take for the end of a line, and what turns the direction of writing.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# Fields of every record, ours, and a repetition of the message by uvicorn.
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "about", "color_message"}
# Names of ours for what the SDK's own loggers attach to a record.
_SDK = {
    "workflow_id": "workflow",
    "run_id": "run",
    "workflow_run_id": "run",
    "workflow_type": "type",
    "activity_type": "activity",
    "attempt": "attempt",
    "task_queue": "queue",
}

_ANSWERS = (ApplicationError, CancelledError, asyncio.CancelledError, OtherTenant, TemporalError)
LONGEST_CORE = 300  # characters
_UNREACHABLE = re.compile(r"code: (Unavailable|DeadlineExceeded|Cancelled)|transport error")


class FailedAttempts(logging.Filter):
    """For the logger `temporalio.activity`, which has a line for each failed attempt of an activity.

    Attempts 1, 2, 4, 8 and so on are logged: a dependency that is away for an hour fills no disk. The line is
    short where a traceback would say nothing: for an ApplicationError, which is an answer (declined, not
    available), and for a cancelled attempt.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        about = getattr(record, "temporal_activity", {})
        attempt = about.get("attempt", 1)
        if error is None or not isinstance(attempt, int):
            return True
        if isinstance(error, _ANSWERS):
            record.msg = "%s of %s, attempt %s: %s"
            names = ("activity_type", "workflow_id", "attempt")
            record.args = (*(about.get(name, "?") for name in names), str(error) or "cancelled")
            record.exc_info = record.exc_text = None
        return attempt & (attempt - 1) == 0


class CoreFields(logging.Filter):
    """For the logger `temporalio`, which has the lines of the SDK core: no tokens, and not too long.

    Its pollers and heartbeats say again and again that they cannot reach the server. Those lines are left
    out, as `watch.watch_server` has one for all of them.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        core = getattr(record, "temporal_log", None)
        if core is None:
            return True
        if record.name.endswith(("::retry", "::heartbeat")) and _UNREACHABLE.search(
            str(core.fields.get("error", ""))
        ):
            return False
        fields = [f"{name}={value}" for name, value in core.fields.items() if name != "task_token"]
        message = f"{core.message} ({', '.join(fields)})" if fields else core.message
        record.msg = message if len(message) <= LONGEST_CORE else f"{message[:LONGEST_CORE]}…"
        return True


class Context(logging.Filter):
    """For handlers: `record.about` has what the line is about, empty outside of runs. An error that is an
    answer (refused, cancelled, Temporal is away) is a sentence at the end of the message, not a traceback."""

    def __init__(self, name: str = "") -> None:
        super().__init__(name)
        # The fields say it; the SDK would repeat it in every message.
        activity.logger.activity_info_on_message = False
        workflow.logger.workflow_info_on_message = False

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            record.about = about(record)
        except Exception:  # a line without its context is better than no line
            record.about = {}
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, _ANSWERS):
            record.msg = f"{record.getMessage()}: {str(error) or 'cancelled'}"
            record.args = record.exc_info = record.exc_text = None
        return True


def about(record: logging.LogRecord) -> dict[str, Any]:
    """Field -> value of what runs where the record was made, else of what the SDK attached to it."""
    if activity.in_activity():
        info = activity.info()
        return _set(
            workflow=info.workflow_id,
            run=info.workflow_run_id,
            type=info.workflow_type,
            activity=info.activity_type,
            attempt=info.attempt,
            tenant=current_tenant(),
            environment=current_environment(),
            queue=info.task_queue,
        )
    if workflow.in_workflow():
        run = workflow.info()
        return _set(
            workflow=run.workflow_id,
            run=run.run_id,
            type=run.workflow_type,
            tenant=header_text(run.headers, TENANT_HEADER),
            environment=header_text(run.headers, ENVIRONMENT_HEADER),
            queue=run.task_queue,
        )
    details = getattr(record, "temporal_activity", None) or getattr(record, "temporal_workflow", None) or {}
    return _set(**{_SDK[name]: value for name, value in details.items() if name in _SDK})


def _set(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, "")}


def safe(text: str) -> str:
    """A message or a traceback without secrets."""
    return redact_text(_INPUTS.sub("input_value=…, ", text))


def printable(text: str) -> str:
    """Control characters as escapes: text that comes from outside forges no line and no colour."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def extra(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller gave as `extra`, as plain JSON without secrets."""
    given = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    return {
        name: redact_named(name, _plain_json(value))
        for name, value in given.items()
        if not name.startswith(("temporal_", "__temporal_"))  # of the SDK: about() has it
    }


def _plain_json(value: Any) -> Any:
    try:
        return to_jsonable_python(value, fallback=str, inf_nan_mode="strings", bytes_mode="base64")
    except ValueError:  # it holds itself
        return str(value)


class Plain(logging.Formatter):
    """For people: `time LEVEL logger: message [workflow=order-1 activity=charge_payment ...]`, local time.

    One line, and after it the traceback, indented: a line that is not indented was written by a logger.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "about", {})
        tail = f" [{' '.join(f'{name}={value}' for name, value in fields.items())}]" if fields else ""
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")  # noqa: DTZ006 (local time, to read)
        line = safe(f"{at} {record.levelname} {record.name}: {record.getMessage()}{tail}")
        lines = [printable(line)]
        if record.exc_info:
            traceback = safe(self.formatException(record.exc_info)).split("\n")
            lines += [f"  {printable(part)}" for part in traceback]
        return "\n".join(lines)


class Json(logging.Formatter):
    """For machines: one object a line, with time (UTC, RFC 3339), level, logger, message, what the line is
    about, and the `extra` of the caller. A name that is taken already keeps its value."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": safe(record.getMessage()),
            **{name: safe(str(value)) for name, value in getattr(record, "about", {}).items()},
        }
        if record.exc_info:
            line["exception"] = safe(self.formatException(record.exc_info))
        return json.dumps({**extra(record), **line}, ensure_ascii=False)
