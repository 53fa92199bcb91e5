"""A plugin that does nothing wrong by itself."""

from __future__ import annotations

from temporalio import activity

from workers.registry.plugins import Plugin

plugin = Plugin("twin")


@plugin.activity("planted-queue")
@activity.defn(name="twin.greet", no_thread_cancel_exception=True)
def greet() -> None: ...
