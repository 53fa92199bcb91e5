"""From a filter in the URL to query text: fields, conditions, text parsed and written out again, the viewer's
scope always added.

A condition says what state a run is in, in the words of people who watch it, where Temporal's status says
only Running or Completed. Each is one clause here and the same rule on a row (`condition_of`); they exclude
each other. Types without a registered pipeline, and servers without our attributes, show Temporal's own
status.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict
from django.urls import reverse

from dashboard import extend, registrations
from dashboard.access import Scope, Viewer, for_viewer
from dashboard.query.grammar import rebuild, rewrite
from workers.client.visibility import SYSTEM, Comparison, Unusable, any_of, both, compare, quote
from workers.contracts import SagaState, WaitingFor

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
COMPARED = (
    ("workflow_type", "WorkflowType", "="),
    ("status", "ExecutionStatus", "="),
    ("prefix", "WorkflowId", "STARTS_WITH"),
    ("after", "StartTime", ">="),
    ("before", "StartTime", "<"),
)
# Attributes that conditions need.
NEEDS = ("SagaState", "WaitingFor", "Stage")
OPEN = ("running", "waiting", "held", "stuck", "compensating")


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


@dataclass(frozen=True, slots=True)
class ScopedQuery:
    """Query text that carries a scope; `with_scope` makes it. Lists and counts take nothing else, and lists
    check each row by the scope too."""

    scope: Scope
    text: str


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """A filter as the server gets it. `scoped` carries the viewer's scope, `typed` is the same without it,
    and `any_status` is `scoped` without the status that the filter asks for. `exact` comparisons are only
    narrowed by the text: each row has to be compared again."""

    scoped: ScopedQuery
    typed: str
    any_status: ScopedQuery
    exact: tuple[Comparison, ...] = ()


def compile_filter(narrowed: Filter, viewer: Viewer, types: Mapping[str, int] | None = None) -> CompiledQuery:
    """The query of a filter for a viewer. `types` are those of the search attributes that may be used, by
    default what our apps declare. Raises Refused with a sentence for each field that is wrong."""
    known = {**SYSTEM, **(registrations.attribute_types() if types is None else types)}
    wanted = [(f"terms.{at}", term) for at, term in enumerate(narrowed.terms)]
    wanted += [(name, Term(key, op, text)) for name, key, op in COMPARED if (text := getattr(narrowed, name))]
    compared, clauses, errors = list[Comparison](), dict[str, str](), dict[str, str]()
    for name, term in wanted:
        try:
            if term.name not in known:
                raise Unusable(f"This server has no search attribute {term.name}.")
            compared.append(compare(term.name, term.operator, term.value, known[term.name]))
            clauses[name] = compared[-1].clause
        except Unusable as error:
            errors[name] = error.message
    for name, text in (("raw", narrowed.raw), ("condition", narrowed.condition)):
        try:
            if text:
                clauses[name] = rebuild(text) if name == "raw" else condition_clause(text, types)
        except Unusable as error:
            errors[name] = error.message
    if errors:
        raise Refused(errors)
    typed = both(*clauses.values())
    any_status = both(*(clause for name, clause in clauses.items() if name != "status"))
    exact, scope = tuple(item for item in compared if item.exact), for_viewer(viewer)
    return CompiledQuery(with_scope(scope, typed), typed, with_scope(scope, any_status), exact)


def with_scope(scope: Scope, query: str) -> ScopedQuery:
    """The one place that narrows a query to a scope, whatever the query says: it is parsed and written out
    again, so that none can leave the parentheses around it. Raises Unusable for what is no query."""
    return ScopedQuery(scope, both(scope.clause, rewrite(query)))


def list_url(namespace: str, narrowed: Filter) -> str:
    """The address of the list of exactly these runs."""
    address, params = reverse("workflows", args=[namespace]), narrowed.to_params()
    return f"{address}?{params}" if params else address


def _is(attribute: str, value: str) -> str:
    return f"{attribute} = {quote(value)}"


def _not_in(attribute: str, *values: str) -> str:
    """Unset counts as not in: the server's NOT IN would skip it."""
    return f"({attribute} IS NULL OR {attribute} NOT IN {any_of(list(values))})"


RUNNING, DONE = _is("ExecutionStatus", "Running"), _is("ExecutionStatus", "Completed")
STEADY = f"{RUNNING} AND {_not_in('SagaState', SagaState.COMPENSATING, SagaState.STUCK)}"
AT_BREAKER = _is("WaitingFor", WaitingFor.BREAKER)
FOR_PERSON = f"WaitingFor IS NOT NULL AND WaitingFor != {quote(WaitingFor.BREAKER)}"


def _ended(condition: str) -> str:
    """Completed in a stage that an app has registered for this condition."""
    ends = [
        f"({_is('WorkflowType', name)} AND Stage IN {any_of(stages)})"
        for name, pipeline in extend.pipelines.items()
        if (stages := [stage for stage, ending in pipeline.endings.items() if ending == condition])
    ]
    return f"{DONE} AND ({' OR '.join(ends)})" if ends else f"{DONE} AND {RUNNING}"  # which no run is


def _plain_end() -> str:
    """Completed, and in none of the stages that are registered as another ending."""
    others = [
        f"(WorkflowType != {quote(name)} OR {_not_in('Stage', *pipeline.endings)})"
        for name, pipeline in extend.pipelines.items()
        if pipeline.endings
    ]
    return " AND ".join([DONE, *others])


CONDITIONS: dict[str, Callable[[], str]] = {
    "running": lambda: f"{STEADY} AND WaitingFor IS NULL",
    "waiting": lambda: f"{STEADY} AND {FOR_PERSON}",
    "held": lambda: f"{STEADY} AND {AT_BREAKER}",
    "stuck": lambda: f"{RUNNING} AND {_is('SagaState', SagaState.STUCK)}",
    "compensating": lambda: f"{RUNNING} AND {_is('SagaState', SagaState.COMPENSATING)}",
    "completed": lambda: f"{_plain_end()} AND {_not_in('SagaState', SagaState.COMPENSATED)}",
    "compensated": lambda: f"{_plain_end()} AND {_is('SagaState', SagaState.COMPENSATED)}",
    "rejected": lambda: _ended("rejected"),
    "cancelled": lambda: f"({_is('ExecutionStatus', 'Canceled')} OR ({_ended('cancelled')}))",
    "failed": lambda: _is("ExecutionStatus", "Failed"),
    "terminated": lambda: _is("ExecutionStatus", "Terminated"),
    "timed_out": lambda: _is("ExecutionStatus", "TimedOut"),
}


def missing(available: Collection[str] | None) -> list[str]:
    """Attributes that conditions need and the server does not have; `available` None means that it has
    all."""
    return [] if available is None else [name for name in NEEDS if name not in available]


def condition_clause(name: str, available: Collection[str] | None = None) -> str:
    """The clause of a condition. Raises Unusable where there is none here."""
    if name not in CONDITIONS:
        raise Unusable(f"There is no condition “{name}”; there are {', '.join(CONDITIONS)}.")
    if not extend.pipelines:
        raise Unusable("No app has registered a pipeline, so there are no conditions here.")
    if absent := missing(available):
        raise Unusable(
            f"Conditions need the search attributes {', '.join(absent)}, which this server does not have."
        )
    return both(f"WorkflowType IN {any_of(list(extend.pipelines))}", CONDITIONS[name]())


def condition_of(workflow_type: str, status: int, attributes: Mapping[str, Any]) -> str | None:
    """The condition of a run from its own values: the same rule as the clauses. None where Temporal's status
    is all that is known: types without a pipeline, runs that were continued, statuses of newer servers."""
    if workflow_type not in extend.pipelines:
        return None
    saga, waiting, stage = (attributes.get(name) for name in NEEDS)
    if status == 1:
        if saga in (SagaState.STUCK, SagaState.COMPENSATING):
            return str(saga)
        if not waiting:
            return "running"
        return "held" if WaitingFor.BREAKER in waiting else "waiting"
    if status == 2:
        if ending := extend.pipelines[workflow_type].endings.get(str(stage)):
            return ending
        return "compensated" if saga == SagaState.COMPENSATED else "completed"
    return {3: "failed", 4: "cancelled", 5: "terminated", 7: "timed_out"}.get(status)
