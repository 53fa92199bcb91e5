"""Tags and filters of every template: shapes of status, times, amounts. All escape what they are given.

Status is always a word, a shape and a colour together. `s` is one of done, run, wait, stop, undo, rest: it
names both the colour (`data-s`) and, unless told otherwise, the shape in the sprite. Shapes of SVG take their
sizes from attributes in percent, as the content security policy allows no style attribute.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from workers.contracts import DECIMALS, Money
from workers.payloads.redaction import redact_text

register = template.Library()

SIGNS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}
# Levels of Django's messages, as a status and a word.
LEVELS = {"success": ("done", "Done"), "warning": ("wait", "Waiting"), "error": ("stop", "Not done")}
LAMPS = (("stop", 9), ("wait", 21), ("done", 33))
PERCENT = 100


@register.simple_tag
def icon(name: str) -> SafeString:
    """A shape of the sprite, for the eye alone: the word stands beside it."""
    return format_html('<svg aria-hidden="true"><use href="#s-{}"/></svg>', name)


@register.simple_tag
def status(s: str, word: object, shape: str = "") -> SafeString:
    """A status: shape and word in the colour of `s`."""
    return format_html('<span class="st" data-s="{}">{}{}</span>', s, icon(shape or s), word)


@register.filter
def note_status(level: str) -> str:
    """The status of a message by its level_tag."""
    return LEVELS.get(level, ("rest", ""))[0]


@register.filter
def note_word(level: str) -> str:
    """The word of a message by its level_tag."""
    return LEVELS.get(level, ("", "Note"))[1]


@register.simple_tag
def track(n: int, at: int | None, s: str) -> SafeString:
    """The `n` stages of one run as a piece of track; `at` is the index of the one it stands at, from 0
    (`n`: past the last one; None: not on the line)."""
    here = -1 if at is None else at
    dots = (("on" if i < here else "at" if i == here else "",) for i in range(n))
    body = format_html_join("", '<i class="{}"></i>', dots)
    return format_html('<span class="track" data-s="{}" aria-hidden="true">{}</span>', s, body)


@register.simple_tag
def signal_head(s: str) -> SafeString:
    """A signal with three lamps; the lit one is `s`: stop, wait or done."""
    lamps = format_html_join(
        "",
        '<circle class="{}" data-s="{}" cx="9" cy="{}" r="4.6"/>',
        (("lit" if lamp == s else "", lamp, y) for lamp, y in LAMPS),
    )
    housing = '<rect x=".5" y=".5" width="17" height="41" rx="8.5"/>'
    return format_html(f'<svg class="sig" viewBox="0 0 18 42" aria-hidden="true">{housing}{{}}</svg>', lamps)


@register.simple_tag
def gauge(value: float, limit: float | None, s: str, label: str, top: float = PERCENT) -> SafeString:
    """A measure as a bar on a scale from 0 to `top`, with a tick at the limit where there is one."""
    share = min(100.0, max(0.0, PERCENT * value / top)) if top else 0.0
    tick, height, y = SafeString(""), 4, "6"
    if limit is not None and top:
        x = f"{min(100.0, PERCENT * limit / top):.4g}%"
        tick, height, y = format_html('<line x1="{}" x2="{}" y1="1" y2="13"/>', x, x), 5, "4.5"
    bar = '<rect class="{}" y="{}" width="{}%" height="{}" rx="2"/>'
    both = format_html(bar, "bg", y, "100", height) + format_html(bar, "v", y, f"{share:.4g}", height)
    return format_html(
        '<svg class="gauge" data-s="{}" role="img" aria-label="{}">{}{}</svg>', s, label, both, tick
    )


@register.simple_tag
def copy(value: str) -> SafeString:
    """A button that copies an id; it is shown where scripts run."""
    button = '<button type="button" class="copy" data-copy="{}" aria-label="Copy {}" hidden>Copy</button>'
    return format_html(button, value, value)


@register.simple_tag
def verbatim_json(value: Any) -> SafeString:
    """Any value as indented JSON; what JSON cannot hold is shown as its text."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return format_html('<pre tabindex="0">{}</pre>', text)


def _moment(value: object) -> datetime | None:
    """A time from a datetime or from RFC 3339 text; None for anything else. Naive times are UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _time(at: datetime, text: str) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>', at.isoformat(), at.strftime("%Y-%m-%d %H:%M:%S"), text
    )


@register.filter
def duration(value: timedelta | float | None) -> str:
    """A length of time in its two largest units: `2 h 05 min`, `1 min 22 s`, `0.4 s`."""
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


@register.filter
def coarse(seconds: float) -> str:
    """As people say it when seconds do not matter: `6 min`, `3 h 05 min`; below a minute in seconds."""
    return (
        f"{round(seconds)} s" if seconds < 60 else duration(60.0 * int(seconds // 60)).removesuffix(" 00 s")
    )


@register.filter
def ago(value: object) -> SafeString | str:
    """`6 min ago`, as a time element; nothing for no time."""
    at = _moment(value)
    if at is None:
        return ""
    seconds = (datetime.now(UTC) - at).total_seconds()
    return _time(at, f"{coarse(seconds)} ago" if seconds >= 0 else f"in {coarse(-seconds)}")


@register.filter
def clock(value: object) -> SafeString | str:
    """`03:14:07`, with the day before it where that is not today (UTC); nothing for no time."""
    at = _moment(value)
    if at is None:
        return ""
    now = datetime.now(UTC)
    today, this_year = at.date() == now.date(), at.year == now.year
    return _time(at, at.strftime("%H:%M:%S" if today else "%-d %b %H:%M" if this_year else "%-d %b %Y %H:%M"))


@register.filter
def left(deadline: object) -> SafeString | str:
    """`6 min left`, or `2 min over` past the deadline."""
    at = _moment(deadline)
    if at is None:
        return ""
    seconds = (at - datetime.now(UTC)).total_seconds()
    return _time(at, f"{coarse(seconds)} left" if seconds >= 0 else f"{coarse(-seconds)} over")


@register.filter
def until(value: object) -> SafeString | str:
    """What is left until a time, exact to the second: `2 min 14 s`; `now` once it is past."""
    at = _moment(value)
    if at is None:
        return ""
    seconds = (at - datetime.now(UTC)).total_seconds()
    return _time(
        at, duration(round(seconds)) if seconds >= 10 else f"{round(seconds)} s" if seconds > 0 else "now"
    )


@register.filter
def redacted(text: str) -> str:
    """Text without secrets, for what was written before its name was one of the hidden ones."""
    return redact_text(text)


@register.filter
def is_past(value: object) -> bool:
    """Has this time come? No time never has."""
    at = _moment(value)
    return at is not None and at <= datetime.now(UTC)


@register.filter
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


@register.filter
def sums(amounts: dict[str, int]) -> str:
    """Sums in minor units by currency, as `€1,552.00 and 20.00 CHF`: never added across currencies."""
    return " and ".join(money(Money(minor=minor, currency=name)) for name, minor in sorted(amounts.items()))
