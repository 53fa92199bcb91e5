"""Values as people read them: times, amounts, lengths, and the small pieces of HTML that a status is made of.

Plain functions; template tags only register them. All escape what they are given. A status is always a word,
a shape and a colour together: its `tone` is one of done, run, wait, stop, undo, rest, and names the colour
(`data-s`) and, unless given, the shape in the sprite. Shapes of SVG take their sizes from attributes
in percent, as the content security policy allows no style attribute.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from workers.contracts import DECIMALS, Money
from workers.payloads.redaction import redact_text

SIGNS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}
LAMPS = (("stop", 9), ("wait", 21), ("done", 33))
PERCENT = 100
LONGEST = 120  # characters of a value in one line


def as_time(value: object) -> datetime | None:
    """A time in UTC from a datetime or from RFC 3339 text; None for anything else. Naive times are UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _seconds_until(value: object) -> float | None:
    at = as_time(value)
    return None if at is None else (at - datetime.now(UTC)).total_seconds()


def duration(value: timedelta | float | None) -> str:
    """A length of time (seconds, if a number) in its two largest units: `2 h 05 min`, `1 min 22 s`, `0.4
    s`."""
    if value is None:
        return ""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if abs(seconds) < 10:
        return f"{max(0.0, seconds):.1f} s"
    minutes, rest = divmod(round(abs(seconds)), 60)
    hours, left_minutes = divmod(minutes, 60)
    days, left_hours = divmod(hours, 24)
    if days:
        return f"{days} d {left_hours} h" if left_hours else f"{days} d"
    if hours:
        return f"{hours} h {left_minutes:02d} min" if left_minutes else f"{hours} h"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def coarse(seconds: float) -> str:
    """A length of time where seconds do not matter: `6 min`, `3 h 05 min`; below a minute in seconds."""
    if seconds < 60:
        return f"{round(seconds)} s"
    return duration(60.0 * int(seconds // 60)).removesuffix(" 00 s")


def ago(value: object) -> str:
    """`6 min ago`; nothing for no time."""
    seconds = _seconds_until(value)
    if seconds is None:
        return ""
    return f"{coarse(-seconds)} ago" if seconds <= 0 else f"in {coarse(seconds)}"


def clock(value: object) -> str:
    """`03:14:07` in UTC, with the day before it where that is not today; nothing for no time."""
    at = as_time(value)
    if at is None:
        return ""
    now = datetime.now(UTC)
    if at.date() == now.date():
        return f"{at:%H:%M:%S}"
    return f"{at.day} {at:%b %H:%M}" if at.year == now.year else f"{at.day} {at:%b %Y %H:%M}"


def left(deadline: object) -> str:
    """`6 min left`, or `2 min over` past the deadline."""
    seconds = _seconds_until(deadline)
    if seconds is None:
        return ""
    return f"{coarse(seconds)} left" if seconds >= 0 else f"{coarse(-seconds)} over"


def until(value: object) -> str:
    """What is left until a time, exact to the second: `2 min 14 s`; `now` once it is past."""
    seconds = _seconds_until(value)
    if seconds is None:
        return ""
    return duration(round(seconds)) if seconds >= 10 else f"{round(seconds)} s" if seconds > 0 else "now"


def is_past(value: object) -> bool:
    """Whether a time has come; no time never has."""
    seconds = _seconds_until(value)
    return seconds is not None and seconds <= 0


def time_element(value: object, words: Callable[[object], str]) -> SafeString | str:
    """The words for a time (`ago`, `clock`, `left` or `until`) in a time element; nothing for no time."""
    at = as_time(value)
    if at is None:
        return ""
    exact = at.strftime("%Y-%m-%d %H:%M:%S")
    return format_html('<time datetime="{}" title="{} UTC">{}</time>', at.isoformat(), exact, words(at))


def money(value: Money | None) -> str:
    """`€12,480.00` of minor units; a currency without a sign stands behind the figure."""
    if value is None:
        return ""
    decimals = DECIMALS.get(value.currency, 2)
    whole, part = divmod(abs(value.minor), 10**decimals)
    figure = f"{whole:,}.{part:0{decimals}d}" if decimals else f"{whole:,}"
    sign = "\N{MINUS SIGN}" if value.minor < 0 else ""
    mark = SIGNS.get(value.currency)
    return f"{sign}{mark}{figure}" if mark else f"{sign}{figure} {value.currency}".rstrip()


def sums(amounts: dict[str, int]) -> str:
    """Sums in minor units by currency, as `€1,552.00 and 20.00 CHF`: never added across currencies."""
    return " and ".join(money(Money(minor=minor, currency=name)) for name, minor in sorted(amounts.items()))


def line(value: Any) -> str:
    """A decoded value as one line of plain text, cut where it is long."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def redacted(text: str) -> str:
    """Text without secrets, for what was written before its name was one of the hidden ones."""
    return redact_text(text)


def html_id(value: object) -> str:
    """A workflow id as the id of an element and a fragment of a URL: neither may hold spaces."""
    return re.sub(r"[^a-zA-Z0-9_-]", lambda found: f".{ord(found[0]):x}.", str(value))


def icon(name: str) -> SafeString:
    """A shape of the sprite, for the eye alone: the word stands beside it."""
    return format_html('<svg aria-hidden="true"><use href="#s-{}"/></svg>', name)


def status(tone: str, word: object, shape: str = "") -> SafeString:
    """A status: shape and word in the colour of `tone`."""
    return format_html('<span class="st" data-s="{}">{}{}</span>', tone, icon(shape or tone), word)


def track(n: int, at: int | None, tone: str) -> SafeString:
    """The `n` stages of a pipeline as a piece of track; `at` is the index of the stage that the run is in,
    from 0 (`n`: past the last one; None: in none of them)."""
    here = -1 if at is None else at
    dots = (("on" if i < here else "at" if i == here else "",) for i in range(n))
    body = format_html_join("", '<i class="{}"></i>', dots)
    return format_html('<span class="track" data-s="{}" aria-hidden="true">{}</span>', tone, body)


def signal_head(tone: str) -> SafeString:
    """A signal with three lamps; the lit one is `tone`: stop, wait or done."""
    lamps = format_html_join(
        "",
        '<circle class="{}" data-s="{}" cx="9" cy="{}" r="4.6"/>',
        (("lit" if lamp == tone else "", lamp, y) for lamp, y in LAMPS),
    )
    housing = '<rect x=".5" y=".5" width="17" height="41" rx="8.5"/>'
    return format_html(f'<svg class="sig" viewBox="0 0 18 42" aria-hidden="true">{housing}{{}}</svg>', lamps)


def gauge(value: float, limit: float | None, tone: str, label: str, top: float = PERCENT) -> SafeString:
    """A measure as a bar on a scale from 0 to `top`, with a tick at the limit where there is one."""
    share = min(100.0, max(0.0, PERCENT * value / top)) if top else 0.0
    tick, height, y = SafeString(""), 4, "6"
    if limit is not None and top:
        x = f"{min(100.0, PERCENT * limit / top):.4g}%"
        tick, height, y = format_html('<line x1="{}" x2="{}" y1="1" y2="13"/>', x, x), 5, "4.5"
    bar = '<rect class="{}" y="{}" width="{}%" height="{}" rx="2"/>'
    both = format_html(bar, "bg", y, "100", height) + format_html(bar, "v", y, f"{share:.4g}", height)
    return format_html(
        '<svg class="gauge" data-s="{}" role="img" aria-label="{}">{}{}</svg>', tone, label, both, tick
    )


def copy(value: str) -> SafeString:
    """A button that copies an id; it is shown where scripts run."""
    button = '<button type="button" class="copy" data-copy="{}" aria-label="Copy {}" hidden>Copy</button>'
    return format_html(button, value, value)
