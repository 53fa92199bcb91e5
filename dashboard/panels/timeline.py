"""The timeline: activities, timers and children as bars on one scale of time, and where a person
interfered.

Places are percentages for attributes of SVG, as the content security policy allows no style attribute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from dashboard.formats import duration
from dashboard.temporal_api.history import EventLine, Span
from dashboard.temporal_api.run import RunPage

MOST = 40
UNITS = ((86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds"), (0.001, "ms"))
MOST_MARKS = 6


@dataclass(frozen=True, slots=True)
class Bar:
    """`x` and `width` are percent of the whole; `say` is how long it took, in words."""

    name: str
    say: str
    x: str
    width: str
    tone: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Bars in the order of their start, marks (percent, number as text) of the scale, and cuts.
    `left_out` counts older bars that are not drawn, `cuts_left_out` older cuts, and `unread` the older events
    that were not read, so that what began there is neither."""

    bars: list[Bar]
    unit: str
    marks: list[tuple[str, str]]
    cuts: list[tuple[str, EventLine]]
    left_out: int
    cuts_left_out: int = 0
    unread: int = 0


def _percent(at: datetime, start: datetime, seconds: float) -> float:
    return max(0.0, min(100.0, 100 * (at - start).total_seconds() / seconds))


def _bar(span: Span, start: datetime, now: datetime, seconds: float) -> Bar:
    begin = span.start or start
    x = _percent(begin, start, seconds)
    width = max(0.5, _percent(span.end or now, start, seconds) - x)
    took = duration(((span.end or now) - begin).total_seconds())
    return Bar(
        span.name, took if span.end else f"so far {took}", f"{min(x, 99.5):.4g}", f"{width:.4g}", span.tone
    )


def _marks(length: float) -> list[tuple[str, str]]:
    """Round numbers along a scale of `length` units: steps of 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(length / MOST_MARKS))
    step = next(power * size for size in (1, 2, 5, 10) if power * size * MOST_MARKS >= length)
    return [(f"{100 * step * n / length:.4g}", f"{step * n:.4g}") for n in range(math.ceil(length / step))]


def draw(run: RunPage) -> Timeline | None:
    """The timeline of a run; None where nothing has taken time yet."""
    start = run.row.start_time
    if not run.history.spans or start is None:
        return None
    end = run.row.close_time or datetime.now(UTC)
    seconds = max((end - start).total_seconds(), 0.001)
    unit, name = next(((size, name) for size, name in UNITS if seconds >= size), UNITS[-1])
    marks = _marks(seconds / unit)
    shown = run.history.spans[-MOST:]
    history = run.history
    cuts = [(f"{_percent(line.at, start, seconds):.4g}", line) for line in history.cuts[-MOST:] if line.at]
    bars = [_bar(span, start, end, seconds) for span in shown]
    left_out, cuts_left_out = len(history.spans) - len(shown), len(history.cuts[:-MOST])
    return Timeline(bars, name, marks, cuts, left_out, cuts_left_out, history.unread)
