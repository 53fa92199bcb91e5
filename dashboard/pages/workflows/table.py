"""The table of runs: its columns, and each row as the HTML of its cells.

Rows are written here and not in a template, because a hundred rows of ten cells are the whole cost of a
list page. Everything that comes from a workflow is escaped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from dashboard import extend, formats
from dashboard.temporal_api.rows import Row, Undecodable
from workers.contracts import WaitingFor
from workers.payloads.redaction import redact_named

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, the class of its cells, and what a row has there as HTML."""

    label: str
    css: str
    cell: Callable[[Row], str]


def _text(value: Any) -> str:
    shown = escape(formats.line(value))
    return f'<span class="muted">{shown}</span>' if isinstance(value, Undecodable) else shown


_AT_BREAKER = WaitingFor.at_breaker("")


def waits_for(values: Iterable[str]) -> str:
    """What a run waits for, in words: a breaker by its dependency."""
    named = [value for value in values if value != WaitingFor.BREAKER]
    return ", ".join(value.removeprefix(_AT_BREAKER) for value in named)


def stage_label(pipeline: extend.Pipeline | None, stage: str) -> str:
    """What people read for a stage, also for one that the pipeline does not have."""
    if pipeline is None:
        return stage
    return pipeline.labels.get(stage) or stage.replace("_", " ").capitalize()


def _workflow(row: Row) -> str:
    return f'<a class="id" href="{escape(row.url)}">{_text(row.workflow_id)}</a>'


def _stage(row: Row, drawn: dict[tuple[str, str, str], str]) -> str:
    """The stage as a piece of track, drawn once for all rows that are in the same one."""
    key = (row.workflow_type, row.stage, row.tone)
    if key not in drawn:
        pipeline = extend.pipelines.get(row.workflow_type)
        label = stage_label(pipeline, row.stage)
        # A run that ended in a stage of its own, such as rejected, has no place in the pipeline.
        at = pipeline.places.get(row.stage) if pipeline else None
        track = formats.track(len(pipeline.stages), at, row.tone) if pipeline and at is not None else ""
        drawn[key] = f'{track}<span class="muted">{_text(label)}</span>' if row.stage else ""
    return drawn[key]


def _status(row: Row, drawn: dict[tuple[str, str], str]) -> str:
    key = (row.tone, row.word)
    if key not in drawn:
        drawn[key] = str(formats.status(row.tone, row.word))
    return drawn[key]


def _open(row: Row, name: str) -> Any:
    """A search attribute as people may read it; a memo is redacted as it is read."""
    return redact_named(name, row.attributes.get(name))


def _clock(value: object) -> str:
    return str(formats.time_element(value, formats.clock))


def _registered(row: Row, column: extend.Column) -> str:
    if column.workflow_type not in ("", row.workflow_type):
        return ""
    value = row.memo.get(column.key) if column.source == "memo" else _open(row, column.key)
    match column.kind:
        case "money":
            money = extend.moneys.get(row.workflow_type)
            return (
                escape(formats.money(row.amount)) if money and money.attribute == column.key else _text(value)
            )
        case "time":
            return _clock(value) if isinstance(value, str | datetime) else _text(value)
        case "number" if isinstance(value, int | float) and not isinstance(value, bool):
            return f"{value:,}"
        case _:
            return _text(value)


def columns(rows: Sequence[Row], workflow_type: str, available: Collection[str]) -> list[Column]:
    """What to show for these rows. Types without a pipeline get what every workflow has; a column whose
    attribute the server lacks is left out."""
    ours = workflow_type in extend.pipelines or any(row.workflow_type in extend.pipelines for row in rows)
    out = [
        Column("Status", "side", partial(_status, drawn={})),
        Column("Workflow", "lead", _workflow),
    ]
    if not ours or any(row.workflow_type != rows[0].workflow_type for row in rows):
        out.append(Column("Type", "muted off", lambda row: _text(row.workflow_type)))
    if ours and "Stage" in available:
        out.append(Column("Stage", "", partial(_stage, drawn={})))
    if ours and "WaitingFor" in available:
        out.append(Column("Waits for", "off", lambda row: _text(waits_for(row.waiting_for))))
    types = {"", workflow_type, *(row.workflow_type for row in rows)}
    for item in extend.columns.values() if ours else ():
        if item.workflow_type in types and (item.source == "memo" or item.key in available):
            # On a phone a row is a card without headings, where only an amount speaks for itself.
            plain = "muted off" if item.source == "attribute" else ""
            css = {"money": "n", "number": "n off"}.get(item.kind, plain)
            out.append(Column(item.label, css, partial(_registered, column=item)))
    if ours and "Deadline" in available:
        out.append(
            Column(
                "Time left",
                "n",
                lambda row: str(formats.time_element(row.deadline, formats.left)) if row.open else "",
            )
        )
    out.append(Column("Started", "muted off", lambda row: _clock(row.start_time)))
    if not ours:
        out.append(Column("Closed", "muted off", lambda row: _clock(row.close_time)))
    return out


def body(rows: Sequence[Row], shown: Sequence[Column]) -> list[SafeString]:
    """The cells of each row."""
    starts = [_start(column) for column in shown]
    cells = [*zip(starts, (column.cell for column in shown), strict=True)]
    return [mark_safe(_cells(row, cells)) for row in rows]  # noqa: S308


def _start(column: Column) -> str:
    """What is hidden on phones has its heading with it, for those who have it shown."""
    css = f' class="{column.css}"' if column.css else ""
    label = f' data-l="{escape(column.label)}"' if "off" in column.css.split() else ""
    return f"<td{css}{label}>"


def _cells(row: Row, cells: Sequence[tuple[str, Callable[[Row], str]]]) -> str:
    try:
        return "".join(f"{start}{cell(row)}</td>" for start, cell in cells)
    except Exception:  # one odd row must not take the page
        logger.exception("The row of workflow %s could not be drawn.", row.workflow_id)
        return f'<td class="lead" colspan="{len(cells)}">{_workflow(row)} cannot be shown.</td>'
