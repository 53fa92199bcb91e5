"""Every state that a page shows: its tone, word, shape and sentence, in one table.

`tone` is the colour and, unless `shape` says otherwise, the shape; see `dashboard.formats`. States come from
workflows in any language and from servers newer than this console, so an unknown one is shown by its own
name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from temporalio.api.enums.v1 import PendingActivityState as Pending

from workers.contracts import ApprovalState, CircuitState, Outcome, SagaState, StepState


@dataclass(frozen=True, slots=True)
class Look:
    """How a state is shown. `sentence` says what it means for the reader, where there is something to say."""

    tone: str
    word: str
    sentence: str = ""
    shape: str = ""


UNKNOWN = Look("rest", "Unknown")
# What Temporal calls the statuses of a run, by number; queries use these names.
STATUS_NAMES = {
    1: "Running",
    2: "Completed",
    3: "Failed",
    4: "Canceled",
    5: "Terminated",
    6: "ContinuedAsNew",
    7: "TimedOut",
    8: "Paused",
}
STATES: dict[str, Mapping[object, Look]] = {
    "condition": {
        "running": Look("run", "Running", "It is running; no action is needed."),
        "waiting": Look("wait", "Waiting", "It waits for an operator."),
        "held": Look("stop", "Held", "It is held by a breaker, and continues once that closes."),
        "stuck": Look("stop", "Stuck", "Compensation failed permanently. Resolve the step to continue."),
        "compensating": Look(
            "undo",
            "Compensating",
            "Its steps are being compensated, the last one first. It ends by itself afterwards.",
        ),
        "completed": Look("done", "Completed", "It ended as planned."),
        "compensated": Look("rest", "Compensated", "It ended with every step compensated."),
        "rejected": Look("rest", "Rejected", "It was rejected, and what had been done is compensated."),
        "cancelled": Look("rest", "Cancelled", "It was cancelled, and what had been done is compensated."),
        "failed": Look("stop", "Failed", "It failed."),
        "terminated": Look(
            "stop", "Terminated", "It was terminated: nothing was compensated, and nothing more happens."
        ),
        "timed_out": Look("stop", "Timed out", "It timed out; nothing was compensated."),
    },
    "status": {
        1: Look("run", "Running", "It is running."),
        2: Look("done", "Completed", "It has completed."),
        3: Look("stop", "Failed", "It failed."),
        4: Look("rest", "Cancelled", "It was cancelled."),
        5: Look("stop", "Terminated", "It was terminated."),
        6: Look("rest", "Continued", "It continued as a newer run."),
        7: Look("stop", "Timed out", "It timed out."),
        8: Look("wait", "Paused", "It is paused, and continues once it is unpaused."),
    },
    "saga": {
        SagaState.RUNNING: Look("run", "Running"),
        SagaState.COMPLETED: Look("done", "Completed"),
        SagaState.COMPENSATING: Look("undo", "Compensating"),
        SagaState.COMPENSATED: Look("rest", "Compensated"),
        SagaState.STUCK: Look("stop", "Stuck"),
    },
    "step": {
        StepState.PENDING: Look("rest", "waits"),
        StepState.RUNNING: Look("run", "running"),
        StepState.DONE: Look("done", "done"),
        StepState.FAILED: Look("stop", "failed"),
        StepState.UNKNOWN: Look("wait", "outcome unknown"),
        StepState.STUCK: Look("stop", "stuck"),
        StepState.SKIPPED: Look("rest", "skipped"),
        StepState.SETTLED: Look("done", "settled outside"),
    },
    "approval": {
        ApprovalState.NOT_NEEDED: Look("rest", "Not needed"),
        ApprovalState.PENDING: Look("wait", "Pending"),
        ApprovalState.APPROVED: Look("done", "Approved"),
        ApprovalState.REJECTED: Look("rest", "Rejected"),
        ApprovalState.EXPIRED: Look("rest", "Expired"),
        ApprovalState.WITHDRAWN: Look("rest", "Withdrawn"),
    },
    # The worst first: pages sort by this order.
    "breaker": {
        CircuitState.OPEN: Look("stop", "Open", "No call passes."),
        CircuitState.HALF_OPEN: Look(
            "wait",
            "Half open",
            "One call passes as a probe. Its success closes the breaker, its failure opens it again.",
            "half",
        ),
        CircuitState.CLOSED: Look("done", "Closed", "Calls pass."),
    },
    "outcome": {
        Outcome.APPLIED: Look("done", "Applied"),
        Outcome.REFUSED: Look("stop", "Refused"),
        Outcome.ALREADY_DECIDED: Look("rest", "Already decided"),
        Outcome.PENDING: Look("wait", "Sent, not confirmed yet"),
        Outcome.UNKNOWN: Look("wait", "Sent, not confirmed yet"),
        "failed": Look("stop", "Failed"),
        "unanswered": Look("rest", "Ended without an answer"),
        "not_sent_here": Look("stop", "Not sent by this console"),
        "intent": Look("rest", "Intended"),
        "done": Look("done", "Done"),  # of an account or a switch
    },
    "progress": {
        "running": Look("run", "Running"),
        "paused": Look("rest", "Paused"),
        "finished": Look("done", "Done"),
    },
    "activity": {
        Pending.PENDING_ACTIVITY_STATE_SCHEDULED: Look("wait", "scheduled"),
        Pending.PENDING_ACTIVITY_STATE_STARTED: Look("run", "running"),
        Pending.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED: Look("undo", "being cancelled"),
    },
    "queue": {
        "unpolled": Look("stop", "No worker"),
        "unused": Look("rest", "Not used here"),
        "behind": Look("wait", "Falling behind"),
        "working": Look("run", "Working"),
        "polled": Look("done", "Polled"),
    },
    "worker": {True: Look("done", "Polling"), False: Look("rest", "Gone")},
    # Levels of Django's messages.
    "message": {
        "success": Look("done", "Done"),
        "warning": Look("wait", "Waiting"),
        "error": Look("stop", "Not done"),
        "info": Look("rest", "Note"),
    },
}


def look(value: object, kind: str) -> Look:
    """How a state of that kind is shown; one that the table does not have, by its own name."""
    known = STATES[kind].get(value)
    return known or (Look("rest", str(value).replace("_", " ").capitalize()) if value else UNKNOWN)
