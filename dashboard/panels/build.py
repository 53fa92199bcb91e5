"""The panels of a run page: one for each registered contract that the workflow declares."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.template.loader import render_to_string

from dashboard import extend
from dashboard.extend import Panel
from dashboard.temporal_api.answers import BREAKER, Answer
from dashboard.temporal_api.rows import shorten
from dashboard.temporal_api.run import RunPage
from dashboard.temporal_api.tolerant import read
from workers.contracts import WaitingFor

logger = logging.getLogger(__name__)
LONGEST_RAW = 2000  # characters
NOT_YET = "No answer yet; it appears when the workflow has answered."
BROKEN = "This panel could not be drawn; the error is in the log of the web process."


@dataclass(frozen=True, slots=True)
class PanelView:
    """A panel as the page shows it. `body` is HTML, empty where there is nothing to draw; `at` is when the
    answer came, `problem` why there is no newer one or no drawing, `complaint` what was wrong with the
    answer, and `raw` the answer as text where nothing of it could be read."""

    title: str
    source: str
    at: datetime | None = None
    body: str = ""
    problem: str = ""
    complaint: str = ""
    raw: str = ""


@dataclass(frozen=True, slots=True)
class RunPanels:
    """The panels of the main column and of the side column, in their order."""

    main: list[PanelView]
    side: list[PanelView]


def _body(panel: Panel, run: RunPage, answer: Any) -> str | None:
    """The HTML of a panel; None where there shall be no panel."""
    drawn = panel.draw(run, answer)
    return None if drawn is None else render_to_string(panel.template, {"model": drawn, "run": run})


def view(panel: Panel, run: RunPage, answer: Answer) -> PanelView | None:
    """One panel. What goes wrong while it is drawn is logged and shown in its place: it must not take the
    page with it, as panels may come from any app."""
    base = PanelView(panel.title, panel.source, answer.at, problem=answer.problem)
    if answer.at is None:
        return PanelView(panel.title, panel.source, problem=answer.problem or NOT_YET)
    value, complaint = (answer.value, "") if panel.model is None else read(panel.model, answer.value)
    if panel.model and value is None:
        raw = shorten([answer.value], LONGEST_RAW)[0]
        return PanelView(base.title, base.source, base.at, "", base.problem, complaint, raw)
    try:
        body, problem = _body(panel, run, value), base.problem
    except Exception:
        logger.exception("Panel %s of %s could not be drawn.", panel.title, run.row.workflow_id)
        body, problem = "", BROKEN
    if body is None:
        return None
    return PanelView(base.title, base.source, base.at, body, problem, complaint)


def _shown(panel: Panel, run: RunPage) -> bool:
    """Declared, or answered before by a run that cannot be queried now; the breaker, while it holds it."""
    answers, interface = run.answers.by_query, run.answers.interface
    declared = interface.queries if interface else frozenset()
    if panel.query == BREAKER:
        return BREAKER in answers and WaitingFor.BREAKER in run.row.waiting_for
    return panel.query in declared or panel.query in answers


def panels(run: RunPage) -> RunPanels:
    """All panels of a run."""
    found: dict[str, list[PanelView]] = {"main": [], "side": []}
    for panel in extend.panels():
        answer = run.answers.by_query.get(panel.query, Answer())
        if _shown(panel, run) and (made := view(panel, run, answer)):
            found[panel.place].append(made)
    return RunPanels(found["main"], found["side"])
