"""Failures whose words were encoded with the payloads, as people may read them again."""

from __future__ import annotations

from collections.abc import Iterable

from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from dashboard.temporal_api.budget import Budget
from dashboard.temporal_api.events import attributes_of
from dashboard.temporal_api.rows import decode

DEEPEST = 20


async def decode_failure(client: Client, failure: Failure, budget: Budget) -> None:
    """Put the messages of a failure and of its causes back in their place, redacted. What cannot be read
    stays as it came."""
    current = failure
    for _ in range(DEEPEST):
        if current.HasField("encoded_attributes"):
            [words] = await decode(client, [current.encoded_attributes], budget)
            if isinstance(words, dict) and isinstance(words.get("message"), str):
                current.message = words["message"]
        if not current.HasField("cause"):
            return
        current = current.cause


async def decode_failures(client: Client, events: Iterable[HistoryEvent], budget: Budget) -> None:
    """The same for all events that tell of a failure."""
    for event in events:
        _, attributes = attributes_of(event)
        known = attributes is not None and "failure" in attributes.DESCRIPTOR.fields_by_name
        if known and attributes.HasField("failure"):
            await decode_failure(client, attributes.failure, budget)
