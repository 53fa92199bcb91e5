"""Forms as the console makes them. Beside no workflow: the sandbox of a workflow cannot import Django."""

from __future__ import annotations

from dashboard.access import Viewer
from dashboard.form_ids import issue


def form_id(name: str, workflow_id: str, run_id: str = "", *, nonce: str = "") -> str:
    """The id of a form that the console makes for the viewer of this name, for one run."""
    return issue(Viewer(name), workflow_id, run_id, nonce=nonce)
