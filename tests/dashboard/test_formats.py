"""Formats, tags and filters: what they draw, and that they escape whatever they are given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.template import Context, Template

from dashboard import formats
from workers.contracts import Money

HOSTILE = """<script>alert("boo")</script>'"""


def render(source: str, **context) -> str:
    return Template(source).render(Context(context))


@pytest.mark.parametrize(
    "template",
    [
        "{% status 'stop' text %}",
        "{% status text 'x' text %}",
        "{% icon text %}",
        "{% track 2 1 text %}",
        "{% gauge 1 2 text text %}",
        "{% copy text %}",
        "{{ text|ago }}{{ text|clock }}{{ text|left }}{{ text|until }}",
    ],
)
def test_hostile_text_stays_text(template):
    out = render(template, text=HOSTILE)
    assert "<script" not in out
    assert '"boo"' not in out


def test_a_status_is_word_shape_and_colour():
    out = render("{% status 'wait' 'Half open' 'half' %}")
    assert 'data-s="wait"' in out
    assert 'href="#s-half"' in out
    assert out.endswith("Half open</span>")


@pytest.mark.parametrize(
    ("n", "at", "dots"),
    [
        (3, 1, ["on", "at", ""]),
        (3, None, ["", "", ""]),
        (2, 2, ["on", "on"]),
    ],
)
def test_a_track_shows_where_a_run_stands(n, at, dots):
    assert formats.track(n, at, "run").count("<i ") == n
    assert [part.split('"')[0] for part in formats.track(n, at, "run").split('<i class="')[1:]] == dots


def test_only_one_lamp_is_lit():
    assert formats.signal_head("stop").count('class="lit"') == 1
    assert formats.signal_head("rest").count('class="lit"') == 0


@pytest.mark.parametrize(
    ("value", "limit", "top", "width", "tick"),
    [
        (5, 5, 10, "50%", "50%"),
        (30, None, 100, "30%", None),
        (900, 5, 10, "100%", "50%"),
        (-4, None, 100, "0%", None),
        (1, 1, 0, "0%", None),
    ],
)
def test_a_gauge_stays_on_its_scale(value, limit, top, width, tick):
    out = formats.gauge(value, limit, "stop", "Failures", top)
    assert f'class="v" y="{"4.5" if tick else "6"}" width="{width}"' in out
    assert ("<line" in out) == (tick is not None)
    assert tick is None or f'x1="{tick}"' in out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4 s"),
        (14, "14 s"),
        (82, "1 min 22 s"),
        (7500, "2 h 05 min"),
        (7200, "2 h"),
        (90000, "1 d 1 h"),
        (timedelta(days=2), "2 d"),
        (None, ""),
    ],
)
def test_durations_read_as_people_say_them(seconds, text):
    assert formats.duration(seconds) == text


def test_times_are_told_to_machines_and_people():
    now = datetime.now(UTC)
    assert formats.ago(now - timedelta(minutes=6, seconds=10)) == "6 min ago"
    assert formats.left(now + timedelta(minutes=112, seconds=30)) == "1 h 52 min left"
    assert formats.left(now - timedelta(minutes=2, seconds=1)) == "2 min over"
    assert formats.until(now - timedelta(seconds=3)) == "now"
    assert f'datetime="{now.isoformat()}"' in render("{{ at|clock }}", at=now)
    assert render("{{ at|until }}", at=now).endswith(">now</time>")
    assert formats.clock("2020-02-01T03:04:05Z") == "1 Feb 2020 03:04"
    assert [formats.ago(None), formats.clock("soon"), formats.left(3)] == ["", "", ""]


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (1248000, "EUR", "€12,480.00"),
        (-5, "GBP", "\N{MINUS SIGN}£0.05"),
        (1200, "JPY", "¥1,200"),
        (1234567, "KWD", "1,234.567 KWD"),
        (99, "", "0.99"),
        (2**63, "USD", "$92,233,720,368,547,758.08"),
    ],
)
def test_amounts_are_exact(minor, currency, text):
    assert formats.money(Money(minor=minor, currency=currency)) == text


def test_sums_are_never_added_across_currencies():
    assert formats.sums({"USD": 2000, "EUR": 155200}) == "€1,552.00 and $20.00"
    assert formats.money(None) == ""


@pytest.mark.parametrize(
    ("workflow_id", "shown"),
    [
        ("breaker-payments", "breaker-payments"),
        ("a b", "a.20.b"),
        ("a.20.b", "a.2e.20.2e.b"),
        ("ü/#", ".fc..2f..23."),
    ],
)
def test_an_element_id_has_no_space_and_is_that_of_one_workflow(workflow_id, shown):
    assert formats.html_id(workflow_id) == shown
