"""Search attributes of a running workflow: all changes of a moment in one upsert, none without a change."""

from __future__ import annotations

from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate


def upsert_changed(values: dict[SearchAttributeKey[Any], Any]) -> None:
    """Upsert what differs from what the workflow has; None removes. It costs a history event, but no task."""
    known = workflow.info().typed_search_attributes
    updates: list[SearchAttributeUpdate[Any]] = []
    for key, value in values.items():
        if known.get(key) != value:
            updates.append(key.value_unset() if value is None else key.value_set(value))
    if updates:
        workflow.upsert_search_attributes(updates)
