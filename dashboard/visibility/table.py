"""The table of runs: its columns, and each row as the HTML of its cells.

Rows are written here and not in a template, because a hundred rows of ten cells are the whole cost of a
list page. Everything that comes from a workflow is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from dashboard import extend
from dashboard.reads.payloads import Undecodable
from dashboard.templatetags import signalbox as tags
from dashboard.visibility.rows import Row
from workers.contracts import WaitingFor
from workers.payloads.redaction import redact_named

LONGEST = 120  # characters of a cell


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, the class of its cells, and what a row has there as HTML."""

    label: str
    css: str
    cell: Callable[[Row], str]


def text(value: Any) -> str:
    """A decoded value as one line of plain text, cut where it is long."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    line = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def _text(value: Any) -> str:
    shown = escape(text(value))
    return f'<span class="muted">{shown}</span>' if isinstance(value, Undecodable) else shown


def waits_for(values: Iterable[str]) -> str:
    """What a run waits for, in words: a breaker by its dependency."""
    named = [value for value in values if value != WaitingFor.BREAKER]
    return ", ".join(value.removeprefix(WaitingFor.at_breaker("")) for value in named)


def _workflow(row: Row) -> str:
    return f'<a class="id" href="{escape(row.url)}">{_text(row.workflow_id)}</a>'


def _stage(row: Row, drawn: dict[tuple[str, str, str], str]) -> str:
    """The stage as a piece of track, drawn once for all rows that stand at the same place."""
    key = (row.workflow_type, row.stage, row.s)
    if key not in drawn:
        line = extend.lines().get(row.workflow_type)
        label = line.label(row.stage) if line else row.stage
        # Runs that ended off the line have no place on it; one that was delivered has passed all of it.
        at = line.place(row.stage) if line else None
        track = tags.track(len(line.stages), at, row.s) if line and at is not None else ""
        drawn[key] = f'{track}<span class="muted">{_text(label)}</span>' if row.stage else ""
    return drawn[key]


def _status(row: Row, drawn: dict[tuple[str, str], str]) -> str:
    key = (row.s, row.word)
    if key not in drawn:
        drawn[key] = str(tags.status(row.s, row.word))
    return drawn[key]


def _open(row: Row, name: str) -> Any:
    """A search attribute as people may read it; a memo is redacted as it is read."""
    return redact_named(name, row.attributes.get(name))


def _registered(row: Row, column: extend.Column) -> str:
    value = row.memo.get(column.key) if column.source == "memo" else _open(row, column.key)
    match column.kind:
        case "money":
            money = extend.moneys().get(row.workflow_type)
            return escape(tags.money(row.amount)) if money and money.attribute == column.key else _text(value)
        case "time":
            return str(tags.clock(value)) if isinstance(value, str | datetime) else _text(value)
        case "number" if isinstance(value, int | float) and not isinstance(value, bool):
            return f"{value:,}"
        case _:
            return _text(value)


def columns(rows: Sequence[Row], workflow_type: str, available: Collection[str]) -> list[Column]:
    """What to show for these rows. Types without a line get what every workflow has; a column whose
    attribute the server lacks is left out."""
    ours = workflow_type in extend.lines() or any(row.workflow_type in extend.lines() for row in rows)
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
    for item in extend.columns() if ours else ():
        if item.source == "memo" or item.key in available:
            # On a phone a row is a card without headings, where only an amount speaks for itself.
            plain = "muted off" if item.source == "attribute" else ""
            css = {"money": "n", "number": "n off"}.get(item.kind, plain)
            out.append(Column(item.label, css, partial(_registered, column=item)))
    if ours and "Deadline" in available:
        out.append(Column("Time left", "n", lambda row: str(tags.left(row.deadline)) if row.open else ""))
    out.append(Column("Started", "muted off", lambda row: str(tags.clock(row.start_time))))
    if not ours:
        out.append(Column("Closed", "muted off", lambda row: str(tags.clock(row.close_time))))
    return out


def body(rows: Sequence[Row], shown: Sequence[Column]) -> list[SafeString]:
    """The cells of each row."""
    starts = [f'<td class="{column.css}">' if column.css else "<td>" for column in shown]
    cells = [column.cell for column in shown]
    return [
        mark_safe("".join(f"{start}{cell(row)}</td>" for start, cell in zip(starts, cells, strict=True)))  # noqa: S308
        for row in rows
    ]
