"""Search attributes of a running workflow: all changes of a moment in one upsert, none without a change."""

from __future__ import annotations

from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate


def upsert_changed(values: dict[SearchAttributeKey[Any], Any]) -> None:
    """Upsert what differs from what the workflow has; None and [] remove.

    It costs a history event, but no workflow task.
    """
    known = workflow.info().typed_search_attributes
    updates: list[SearchAttributeUpdate[Any]] = []
    for key, value in values.items():
        wanted = None if value == [] else value
        if known.get(key) != wanted:
            updates.append(key.value_unset() if wanted is None else key.value_set(wanted))
    if updates:
        workflow.upsert_search_attributes(updates)
