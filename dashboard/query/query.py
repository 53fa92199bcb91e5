"""Query text for the visibility store: a filter from the URL, raw text checked, the viewer's scope
always added."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.http import QueryDict
from django.urls import reverse

from dashboard.query import conditions
from workers.client.attributes import PLATFORM
from workers.client.visibility import SYSTEM, Comparison, Unusable, any_of, both, compare, quote
from workers.registry.registry import registry

if TYPE_CHECKING:
    from dashboard.access import Viewer

__all__ = ["Filter", "Term", "Unusable", "any_of", "both", "check_raw", "list_url", "quote", "scoped"]

MAX_RAW = 4000
MAX_TERMS = 20
# Fields of a filter and their names in the URL.
FIELDS = {
    "raw": "q",
    "workflow_type": "type",
    "status": "status",
    "condition": "condition",
    "prefix": "id",
    "after": "after",
    "before": "before",
}
# Fields that are one comparison each: field, attribute, operator.
PLAIN = (
    ("workflow_type", "WorkflowType", "="),
    ("status", "ExecutionStatus", "="),
    ("prefix", "WorkflowId", "STARTS_WITH"),
    ("after", "StartTime", ">="),
    ("before", "StartTime", "<"),
)
TOKEN = re.compile(
    r"""(?P<string>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`[^`]*`)|(?P<bad>['"`;\x00]|--|/\*|\#)|(?P<paren>[()])"""
    r"""|(?P<word>\w+)|(?P<rest>.)""",
    re.DOTALL,
)
CLAUSES = {
    "order": "ORDER BY cannot be used here: the server lists open runs first, then the newest.",
    "group": "GROUP BY cannot be used here: the counts above the list are the groups.",
    "limit": "LIMIT cannot be used here: choose the page size below the list.",
    **dict.fromkeys(
        ("union", "select", "having", "into", "from"), "Write conditions only, such as Stage = 'charging'."
    ),
}


class Refused(Exception):
    """A filter with fields that cannot be used; `errors` has a sentence by the name of each."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__(" ".join(errors.values()))


@dataclass(frozen=True, slots=True)
class Term:
    """An attribute, an operator and a value, as typed."""

    name: str
    operator: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Filter:
    """What the list is narrowed to. `raw` is query text as typed; the rest are form fields. `prefix` is
    the start of the workflow id; `after` and `before` are times of start as typed."""

    raw: str = ""
    workflow_type: str = ""
    status: str = ""
    condition: str = ""
    prefix: str = ""
    after: str = ""
    before: str = ""
    terms: tuple[Term, ...] = field(default=())

    @classmethod
    def from_params(cls, params: QueryDict) -> Filter:
        """Read `q type status condition id after before` and the parallel lists `a op v`. Triples
        without a name are left out, as an empty row of the form sends one."""
        names, operators, values = (params.getlist(key) for key in ("a", "op", "v"))
        width = len(names)
        triples = zip(names, [*operators, *[""] * width], [*values, *[""] * width], strict=False)
        simple: dict[str, Any] = {name: params.get(key, "").strip() for name, key in FIELDS.items()}
        simple["prefix"] = params.get("id", "")
        terms = tuple(Term(name, op or "=", value) for name, op, value in triples if name)[:MAX_TERMS]
        return cls(**simple, terms=terms)

    def to_params(self) -> str:
        """The same filter as the query string of a URL, without the empty fields."""
        pairs = [(key, getattr(self, name)) for name, key in FIELDS.items() if getattr(self, name)]
        for term in self.terms:
            pairs += [("a", term.name), ("op", term.operator), ("v", term.value)]
        return urlencode(pairs)

    def without(self, name: str) -> Filter:
        """The same filter with a field emptied; `terms.1` drops that term."""
        if name.startswith("terms."):
            at = int(name.removeprefix("terms."))
            return replace(self, terms=self.terms[:at] + self.terms[at + 1 :])
        emptied: dict[str, Any] = {name: ""}
        return replace(self, **emptied)

    def comparisons(self, types: Mapping[str, int] | None = None) -> dict[str, Comparison]:
        """Each typed field as a comparison, by the name of its field (`terms.0`, `after`, ...). `types`
        are those of the attributes that may be used, by default what our apps declare. Raises Refused
        with every problem."""
        types = {**SYSTEM, **(declared() if types is None else types)}
        wanted = [(f"terms.{at}", term) for at, term in enumerate(self.terms)]
        wanted += [(name, Term(key, op, text)) for name, key, op in PLAIN if (text := getattr(self, name))]
        found, errors = dict[str, Comparison](), dict[str, str]()
        for name, term in wanted:
            try:
                if term.name not in types:
                    raise Unusable(f"This server has no search attribute {term.name}.")
                found[name] = compare(term.name, term.operator, term.value, types[term.name])
            except Unusable as error:
                errors[name] = error.message
        if errors:
            raise Refused(errors)
        return found

    def to_query(self, types: Mapping[str, int] | None = None) -> str:
        """The filter as query text, without any scope. Raises Refused: a sentence for each field that is
        wrong."""
        errors = dict[str, str]()
        clauses: list[str] = []
        try:
            clauses = [item.clause for item in self.comparisons(types).values()]
        except Refused as refused:
            errors = refused.errors
        checks: dict[str, Callable[[], str]] = {
            "raw": lambda: check_raw(self.raw),
            "condition": lambda: self._condition(types),
        }
        for name, make in checks.items():
            try:
                clauses.append(make())
            except Unusable as error:
                errors[name] = error.message
        if errors:
            raise Refused(errors)
        return both(*clauses)

    def _condition(self, types: Mapping[str, int] | None) -> str:
        return (
            conditions.clause(self.condition, None if types is None else types.keys())
            if self.condition
            else ""
        )


def list_url(narrowed: Filter) -> str:
    """The address of the list of exactly these runs."""
    params = narrowed.to_params()
    return f"{reverse('workflows')}?{params}" if params else reverse("workflows")


def declared() -> dict[str, int]:
    """Types of the search attributes that our own apps declare."""
    registry.load()
    return {key.name: int(key.indexed_value_type) for key in (*PLATFORM, *registry.attributes)}


def _tokens(raw: str) -> Iterator[tuple[str, str]]:
    for found in TOKEN.finditer(raw):
        yield found.lastgroup or "rest", found.group()


def check_raw(raw: str) -> str:
    """Raw query text that may stand in parentheses beside other clauses; raises Unusable where it could
    leave them."""
    depth = 0
    if len(raw) > MAX_RAW:
        raise Unusable(f"The query is longer than {MAX_RAW} characters.")
    for kind, text in _tokens(raw):
        if kind == "bad":
            raise Unusable(
                f"A quote is not closed: {text}"
                if text in "'\"`"
                else f"{text!r} can only stand inside quotes."
            )
        if kind == "word" and text.lower() in CLAUSES:
            raise Unusable(CLAUSES[text.lower()])
        depth += {"(": 1, ")": -1}.get(text, 0) if kind == "paren" else 0
        if depth < 0:
            raise Unusable("A closing parenthesis has no opening one.")
    if depth:
        raise Unusable("A parenthesis is not closed.")
    return raw.strip()


def scoped(viewer: Viewer, query: str) -> str:
    """The one place that narrows a query to what a viewer may see, whatever the query says."""
    from dashboard.access import scope

    return both(scope(viewer), query)
