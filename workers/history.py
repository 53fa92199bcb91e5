"""When a workflow's history is too long to go on in the same run."""

from __future__ import annotations

from temporalio import workflow


def should_continue_as_new(most_events: int) -> bool:
    """Does the server suggest it, or has this run more than `most_events` events?"""
    info = workflow.info()
    return info.is_continue_as_new_suggested() or info.get_current_history_length() > most_events


def history_exceeds(events: int, size: int) -> bool:
    """Has the history of this run more events, or more bytes (`size`)?"""
    info = workflow.info()
    return info.get_current_history_length() > events or info.get_current_history_size() > size
