"""When a workflow's history is long enough to continue as new."""

from __future__ import annotations

from temporalio import workflow


def history_full(most_events: int) -> bool:
    """Does the server suggest to continue as new, or has this run more than `most_events` events?"""
    info = workflow.info()
    return info.is_continue_as_new_suggested() or info.get_current_history_length() > most_events
