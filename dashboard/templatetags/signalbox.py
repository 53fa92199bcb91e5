"""Tags and filters of every template: the functions of `dashboard.formats` and `dashboard.states` by name."""

from __future__ import annotations

from functools import partial

from django import template

from dashboard import formats, states

register = template.Library()

for tag in (formats.icon, formats.status, formats.track, formats.signal_head, formats.gauge, formats.copy):
    register.simple_tag(tag)
for plain in (
    formats.duration,
    formats.coarse,
    formats.is_past,
    formats.money,
    formats.sums,
    formats.redacted,
    formats.html_id,
    states.look,
):
    register.filter(plain.__name__, plain)
for words in (formats.ago, formats.clock, formats.left, formats.until):
    register.filter(words.__name__, partial(formats.time_element, words=words))
