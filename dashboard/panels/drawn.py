"""Which panels a run page has: one for each contract that the workflow declares, and the breaker that
holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from dashboard.panels import Panel, approval, circuit, progress, read, saga, state
from dashboard.temporal_api.answers import BREAKER, Answer
from dashboard.temporal_api.run import RunPage
from workers.contracts import (
    ApprovalState,
    ApprovalStatus,
    CircuitStatus,
    Progress,
    Query,
    SagaState,
    SagaStatus,
    Signal,
    Status,
    WaitingFor,
)


@dataclass(frozen=True, slots=True)
class Contract:
    """How the answer to a query is drawn. `side`: it stands beside the facts and not in the main column."""

    title: str
    template: str
    model: type[BaseModel]
    draw: Callable[[RunPage, Any], Any]
    side: bool = False


CONTRACTS: dict[str, Contract] = {
    Query.APPROVAL: Contract("Approval", "approval", ApprovalStatus, lambda _, status: approval.draw(status)),
    Query.SAGA: Contract("Saga", "saga", SagaStatus, saga.draw),
    Query.CIRCUIT: Contract("Breaker", "circuit", CircuitStatus, lambda _, status: circuit.draw(status)),
    Query.PROGRESS: Contract("Progress", "progress", Progress, lambda _, status: progress.draw(status)),
    BREAKER: Contract("Breaker", "circuit", CircuitStatus, lambda _, status: circuit.draw(status), side=True),
}


@dataclass(frozen=True, slots=True)
class Drawn:
    """The panels of the main column and of the side, the header's own words, and what can be decided:
    the acts that make sense now, approval, progress and breaker as they were told, and the steps whose
    compensation is stuck."""

    main: list[Panel]
    side: list[Panel]
    status: Status | None
    acts: list[str]
    approval: ApprovalStatus | None
    progress: Progress | None
    circuit: CircuitStatus | None
    stuck: list[str]


def _panel(run: RunPage, contract: Contract, answer: Answer) -> Panel:
    template = f"dashboard/panels/{contract.template}.html"
    source = "from the breaker" if contract.side else "from the workflow"
    common = (contract.title, template)
    if answer.at is None:
        return Panel(*common, None, source, None, answer.problem or "No answer yet; it comes by itself.")
    model, complaint = read(contract.model, answer.value)
    if model is None:
        return Panel(*common, None, source, answer.at, answer.problem, complaint, answer.value)
    return Panel(*common, contract.draw(run, model), source, answer.at, answer.problem, complaint)


def _state(run: RunPage) -> Iterable[Panel]:
    answer = run.answers.by_query.get(Query.STATE)
    if answer:
        model = state.draw(answer.value) if answer.at else None
        problem = answer.problem or ("" if answer.at else "No answer yet; it comes by itself.")
        yield Panel("State", "dashboard/panels/state.html", model, "from the workflow", answer.at, problem)


def _expected(run: RunPage) -> list[str]:
    """Contracts that are declared, whether or not an answer has arrived."""
    declared = run.answers.interface.queries if run.answers.interface else frozenset()
    return [name for name in CONTRACTS if name in declared or name in run.answers.by_query]


def _model(run: RunPage, name: str, model: type[BaseModel]) -> Any:
    answer = run.answers.by_query.get(name)
    return read(model, answer.value)[0] if answer and answer.at else None


def acts(run: RunPage, question: ApprovalStatus | None, ladder: SagaStatus | None) -> list[str]:
    """Acts that make sense for a run in this state. Without an answer its search attributes tell."""
    if not run.open:
        return []
    asked = (
        question.state == ApprovalState.PENDING if question else WaitingFor.APPROVAL in run.row.waiting_for
    )
    stuck = (
        ladder.state == SagaState.STUCK if ladder else run.row.attributes.get("SagaState") == SagaState.STUCK
    )
    return [
        *([Signal.APPROVE.value, Signal.REJECT.value] if asked else []),
        *(["resolve"] if stuck else []),
        Signal.CANCEL.value,
    ]


def draw(run: RunPage) -> Drawn:
    """Everything that a run says about itself."""
    panels = [
        (CONTRACTS[name].side, _panel(run, CONTRACTS[name], run.answers.by_query.get(name, Answer())))
        for name in _expected(run)
        if name != BREAKER or WaitingFor.BREAKER in run.row.waiting_for
    ]
    question = _model(run, Query.APPROVAL, ApprovalStatus)
    ladder = _model(run, Query.SAGA, SagaStatus)
    return Drawn(
        main=[*(panel for side, panel in panels if not side and _shown(panel)), *_state(run)],
        side=[panel for side, panel in panels if side],
        status=_model(run, Query.STATUS, Status),
        acts=acts(run, question, ladder),
        approval=question,
        progress=_model(run, Query.PROGRESS, Progress),
        circuit=_model(run, Query.CIRCUIT, CircuitStatus),
        stuck=saga.stuck_steps(ladder) if ladder else [],
    )


def _shown(panel: Panel) -> bool:
    """An approval that nobody needs is no panel."""
    model = panel.model
    return not (isinstance(model, approval.Question) and model.status.state == ApprovalState.NOT_NEEDED)
