"""What HTTP calls bring to workers."""

from __future__ import annotations

from workers.patterns.http.activities import call_http
from workers.patterns.http.messages import QUEUE
from workers.registry.plugins import Plugin

plugin = Plugin("http")
# A queue of its own: calls that take an hour would fill the slots of everything else.
plugin.add(QUEUE, activities=[call_http])
