"""The filter of the list as forms: fields are named as in the address, and each error stands at its own.

What a filter may hold is decided where its query is written (`query.compile_filter`), also for links and
pages that have no form; here the refusals find their fields.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from django import forms
from temporalio.api.enums.v1 import IndexedValueType as Indexed

from dashboard import extend
from dashboard.query.query import FIELDS, Filter, Term
from dashboard.states import STATES, STATUS_NAMES
from workers.client.visibility import OPERATORS, Unusable, moment

SIZES = (20, 50, 100)
ROWS = 3  # of attributes, at least one of them blank
INPUTS: dict[int, str] = {
    Indexed.INDEXED_VALUE_TYPE_DATETIME: "datetime-local",
    Indexed.INDEXED_VALUE_TYPE_INT: "number",
    Indexed.INDEXED_VALUE_TYPE_DOUBLE: "number",
}
ANY_OPERATOR = tuple(dict.fromkeys(operator for some in OPERATORS.values() for operator in some))


def _local(text: str) -> str | None:
    """A time as a browser's field for one takes it, in UTC; None for what is no time, or a finer one."""
    try:
        at = moment(text).replace(tzinfo=None)
    except Unusable:
        return None if text else ""
    spec = "milliseconds" if at.microsecond else "seconds" if at.second else "minutes"
    shown = at.isoformat(timespec=spec)
    return shown if datetime.fromisoformat(shown) == at else None


def _is_number(text: str) -> bool:
    try:
        return not text or float(text) == float(text)
    except ValueError:
        return False


class ValueInput(forms.TextInput):
    """The browser's own input for the type of an attribute. A value that does not fit stays as text."""

    def __init__(self, kind: int, attrs: Mapping[str, Any] | None = None) -> None:
        super().__init__(dict(attrs or {}))
        self.kind = kind

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """See base class."""
        context, wanted, text = super().get_context(name, value, attrs), INPUTS.get(self.kind), value or ""
        if wanted == "datetime-local" and (shown := _local(text)) is not None:
            context["widget"] |= {"type": wanted, "value": shown}
        if wanted == "number" and _is_number(text):
            context["widget"]["type"] = wanted
        if context["widget"]["type"] == wanted:
            context["widget"]["attrs"]["step"] = "any"
        return context


class AttributeSelect(forms.Select):
    """Options that say which operators and which input the type of their attribute takes, for the script that
    follows a choice."""

    types: Mapping[str, int]

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """See base class."""
        option, kind = super().create_option(name, value, *args, **kwargs), self.types.get(str(value), 0)
        operators = "|".join(OPERATORS.get(kind, ANY_OPERATOR))
        option["attrs"] |= {"data-operators": operators, "data-input": INPUTS.get(kind, "text")}
        return option


def _choices(names: Iterable[str], chosen: str) -> list[tuple[str, str]]:
    """What is chosen is always among them, so that it stays on the page."""
    return [(name, name) for name in dict.fromkeys([*names, chosen])]


class TermForm(forms.Form):
    """One attribute, compared with a value. All rows share the names of their fields: an address has parallel
    lists of them."""

    use_required_attribute = False
    a = forms.ChoiceField(label="Attribute", required=False, widget=AttributeSelect({"class": "field"}))
    op = forms.ChoiceField(label="Is", widget=forms.Select({"class": "field"}))
    v = forms.CharField(label="Value", required=False)

    def __init__(self, term: Term, at: int, types: Mapping[str, int], error: str) -> None:
        super().__init__({"a": term.name, "op": term.operator, "v": term.value}, auto_id=f"id_{at}_%s")
        kind = types.get(term.name, 0)
        fitting = OPERATORS.get(kind, ANY_OPERATOR)
        name, operator, value = self.fields["a"], self.fields["op"], self.fields["v"]
        name.widget.types = types
        name.choices = _choices(["", *sorted(types)], term.name)  # type: ignore[attr-defined]
        operator.choices = _choices(fitting, term.operator)  # type: ignore[attr-defined]
        value.widget = ValueInput(kind, {"class": "field", "maxlength": 2000})
        if INPUTS.get(kind) == "datetime-local":
            value.label = "Value (UTC)"
        if error:
            wrong = "a" if term.name not in types else "op" if term.operator not in fitting else "v"
            self.add_error(wrong, error)


PAUSED = 8


class FilterForm(forms.Form):
    """All fields of a filter but its attributes, which are `terms`."""

    use_required_attribute = False
    type = forms.CharField(widget=forms.TextInput({"list": "types", "maxlength": 1000}))
    status = forms.ChoiceField(label="Status in Temporal")
    condition = forms.ChoiceField()
    id = forms.CharField(label="Id starts with", widget=forms.TextInput({"maxlength": 1000}), strip=False)
    after = forms.CharField(label="Started from (UTC)")
    before = forms.CharField(label="Started before (UTC)")
    q = forms.CharField(
        label="Query",
        widget=forms.Textarea({"rows": 2, "maxlength": 8000, "spellcheck": "false"}),
        help_text="A list filter of Temporal, for example Stage = 'charging' AND OrderAmount > 50. It is"
        " joined to the fields above by AND.",
    )
    size = forms.ChoiceField(label="Rows a page", choices=[(size, size) for size in SIZES])

    def __init__(
        self,
        narrowed: Filter,
        size: int,
        types: Mapping[str, int],
        absent: list[str],
        errors: dict[str, str],
        counted: Collection[str] = (),
    ) -> None:
        """`types` of the server's attributes; `absent` are those that conditions need; `counted`: statuses
        that occur."""
        super().__init__({key: getattr(narrowed, name) for name, key in FIELDS.items()} | {"size": size})
        for name, field in self.fields.items():
            field.required = False
            if name in ("after", "before"):
                field.widget = ValueInput(Indexed.INDEXED_VALUE_TYPE_DATETIME)
            field.widget.attrs["class"] = "field mono" if name in ("id", "q") else "field"
        looks = {
            name: STATES["status"][number].word
            for number, name in STATUS_NAMES.items()
            if number != PAUSED or name in (narrowed.status, *counted)  # others refuse the name
        }
        self._offer("status", looks, narrowed.status)
        conditions = {str(name): look.word for name, look in STATES["condition"].items()}
        self._offer("condition", conditions, narrowed.condition)
        if absent:
            self.fields["condition"].widget.attrs["disabled"] = True
            self.fields[
                "condition"
            ].help_text = f"Needs {', '.join(absent)}, which this server does not have."
        blank = [Term("", "=")] * max(1, ROWS - len(narrowed.terms))
        self.terms = [
            TermForm(term, at, types, errors.get(f"terms.{at}", ""))
            for at, term in enumerate([*narrowed.terms, *blank])
        ]
        for name, error in errors.items():
            if not name.startswith("terms."):
                self.add_error(FIELDS.get(name), error)

    def _offer(self, name: str, words: Mapping[str, str], chosen: str) -> None:
        """Give a field its choices; one that this console does not know stays if it is chosen."""
        unknown = [(chosen, chosen)] if chosen and chosen not in words else []
        self.fields[name].choices = [("", "Any"), *words.items(), *unknown]  # type: ignore[attr-defined]


def removable(narrowed: Filter) -> list[tuple[Filter, str]]:
    """What narrows the list, in words, each with the filter without it."""
    labels = {name: FilterForm.base_fields[key].label or key.capitalize() for name, key in FIELDS.items()}
    plain = [
        name for name in FIELDS if name not in ("raw", "status", "condition") and getattr(narrowed, name)
    ]
    found = [(name, f"{labels[name]} {getattr(narrowed, name)}") for name in plain]
    found += [
        (f"terms.{at}", f"{term.name} {term.operator} {term.value}") for at, term in enumerate(narrowed.terms)
    ]
    if narrowed.raw:
        found.append(("raw", "Query as text"))
    return [(narrowed.without(name), word) for name, word in found]


def types_known(running: Iterable[str], shown: Iterable[str]) -> list[str]:
    """Workflow types to choose from: those with a pipeline, those of open runs, those of the rows."""
    return list(dict.fromkeys([*extend.pipelines, *running, *shown]))
