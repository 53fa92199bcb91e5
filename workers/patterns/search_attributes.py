"""Search attributes of a running workflow: all changes of a moment in one upsert, none without a change."""

from __future__ import annotations

from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

from workers.client.attributes import WAITING_FOR
from workers.interceptors.waiting_for import with_platform_waits


def upsert_changed(values: dict[SearchAttributeKey[Any], Any]) -> None:
    """Upsert what differs from what the workflow has; None and [] remove. What the platform waits for on
    behalf of the run stays in WaitingFor.

    It costs a history event, but no workflow task.
    """
    known = workflow.info().typed_search_attributes
    updates: list[SearchAttributeUpdate[Any]] = []
    for key, value in values.items():
        wanted = with_platform_waits(value) if key == WAITING_FOR else value
        wanted = None if wanted == [] else wanted
        if known.get(key) != wanted:
            updates.append(key.value_unset() if wanted is None else key.value_set(wanted))
    if updates:
        workflow.upsert_search_attributes(updates)
