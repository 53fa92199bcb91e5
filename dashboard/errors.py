"""What a decision can run into, besides missing rights (`dashboard.access`) and Temporal
(`workers.client.errors`)."""

from __future__ import annotations

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
