"""What every form of an action has: its own id, and the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError

from workers.contracts import Decision

if TYPE_CHECKING:
    from dashboard.extend import Target

LONGEST_REASON, LONGEST_ID, LONGEST_FORM_ID = 2000, 100, 200  # characters
TOO_LONG = {"max_length": "At most %(limit_value)d characters; these are %(show_value)d."}


def printable(text: str) -> None:
    """A validator: no control characters, no line breaks."""
    if not text.isprintable():
        raise ValidationError("This has characters that cannot be printed.")


class ActionForm(forms.Form):
    """The form of an action; it demands a reason where `reason_required`. Subclasses add fields: those named
    as a field of `Decision` fill that one, all others travel in its `input`, by name.

    `target` is the run; its answers may offer choices. On a POST no more of it is known than the viewer and
    the ids, so `clean_<field>` accepts what could be right, and the workflow decides. `form_id` is made with
    the form, see `dashboard.form_ids`. Who decides is never a field.
    """

    reason_required = False
    # Buttons of several actions may share a form; what all of them require is marked when it is shown.
    use_required_attribute = False

    form_id = forms.CharField(
        max_length=LONGEST_FORM_ID,
        widget=forms.HiddenInput,
        validators=[printable],
        error_messages=dict.fromkeys(
            ("required", "max_length"), "This form is not complete. Open the page again."
        ),
    )
    reason = forms.CharField(
        required=False,
        max_length=LONGEST_REASON,
        widget=forms.Textarea({"rows": 2}),
        error_messages={"required": "A reason is needed; it is kept in the audit log.", **TOO_LONG},
    )

    def __init__(self, target: Target, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.target = target
        self.fields["reason"].required = self.reason_required
        self.order_fields([name for name in self.fields if name != "reason"])
        for field in self.fields.values():
            field.widget.attrs.setdefault("class", "field")

    def decision(self) -> dict[str, Any]:
        """What the valid form contributes to the Decision."""
        known = {name: value for name, value in self.cleaned_data.items() if name in Decision.model_fields}
        other = {name: value for name, value in self.cleaned_data.items() if name not in {*known, "form_id"}}
        return {**known, "input": other or None}

    def detail(self) -> str:
        """What the audit log keeps of the valid form besides its reason."""
        return ""


class ReasonRequired(ActionForm):
    """A form that has nothing but a reason, and demands it."""

    reason_required = True
