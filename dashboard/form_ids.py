"""Ids of forms and of the decisions that they send.

An id is made with the form and signed for the viewer and the run that it was shown for: no other viewer can
send it, and not for another run. The id of a decision is a keyed hash of it with the person, the action and
the chain of runs. So a second click on a button is the same decision, another button of the same form is
another one, and the ids in the audit log are of no use to others.
"""

from __future__ import annotations

import json
import uuid

from django.core.signing import BadSignature, Signer
from django.utils.crypto import salted_hmac

from dashboard.access import Viewer

LENGTH = 40  # hexadecimal digits of a decision's id
NOT_OURS = (
    "This form was made for another person or another workflow, or has been changed. Open the page again."
)


def _signer(viewer: Viewer, workflow_id: str, run_id: str) -> Signer:
    made_for = [viewer.name, viewer.namespace, workflow_id, run_id]
    return Signer(salt=f"dashboard.form:{json.dumps(made_for)}")


def issue(viewer: Viewer, workflow_id: str = "", run_id: str = "", *, nonce: str = "") -> str:
    """The id of a form for one run (without ids: for a list), the same for the same `nonce`; by default a
    new one."""
    return _signer(viewer, workflow_id, run_id).sign(nonce or uuid.uuid4().hex)


def nonce_of(form_id: str, viewer: Viewer, workflow_id: str = "", run_id: str = "") -> str:
    """What makes a form's id unique. Empty: it was not issued for this viewer and run."""
    try:
        return str(_signer(viewer, workflow_id, run_id).unsign(form_id))
    except BadSignature:
        return ""


def decision_id(form_id: str, viewer: Viewer, action: str, workflow_id: str, chain: str) -> str:
    """The id of the decision that a form sends by one of its buttons. `chain`: the first run id."""
    parts = json.dumps([viewer.name, action, viewer.namespace, workflow_id, chain, form_id])
    return salted_hmac("dashboard.decision", parts, algorithm="sha256").hexdigest()[:LENGTH]
