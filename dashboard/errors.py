"""What a decision can run into, besides missing rights (`dashboard.access`) and Temporal
(`workers.client.errors`)."""

from __future__ import annotations

from django.db import DatabaseError

from workers.contracts import Verdict


class Invalid(Exception):
    """422: fields that need another look; `errors` maps a field to a sentence."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__(" ".join(errors.values()))


class Closed(Exception):
    """409: the workflow had ended; `state` is how, as a word, `verdict` what it says about this decision, if
    known."""

    def __init__(self, state: str, verdict: Verdict | None = None) -> None:
        self.state, self.verdict = state, verdict
        self.message = f"The workflow is closed already: {state}. Nothing was changed."
        super().__init__(self.message)


class NotTaken(Exception):
    """409: the workflow is not known to take the signal, and the viewer may not send others."""

    def __init__(self, workflow_type: str, signal: str, *, known: bool, missing: str) -> None:
        what = f"{workflow_type} does not take the signal {signal}"
        why = what if known else f"It is not known whether {what.replace('does not take', 'takes')}"
        self.message = f"{why}. Nothing was sent. {missing}".strip()
        super().__init__(self.message)


class TooMany(Exception):
    """429: this viewer has sent too many requests to one workflow; `seconds` until the next one counts."""

    def __init__(self, most: int, seconds: int) -> None:
        self.seconds = seconds
        self.message = f"At most {most} requests a minute to one workflow. Send it again in {seconds} s."
        super().__init__(self.message)


class NotRecorded(DatabaseError):
    """503: the database refused the audit entry, so nothing was sent."""

    message = "The audit log cannot be written, so nothing was sent. Send it again in a moment."

    def __init__(self) -> None:
        super().__init__(self.message)


class OutcomeUnknown(Exception):
    """503: it failed while the decision was being sent. The cause is what was raised."""

    message = "It may have been sent or not. Send it again: it counts once."

    def __init__(self) -> None:
        super().__init__(self.message)
