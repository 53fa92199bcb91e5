"""Who sent the signals of a run: the actor that the body names, and the identity of the client that sent it.

Any client of the namespace can write any name into a body. Its identity is no proof either, but not the
body's to choose, so it is always shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from dashboard.temporal_api.budget import Budget
from dashboard.temporal_api.rows import decode

UNKNOWN = "unknown"
SIGNAL_BYTES = 64 * 1024  # of a signal that is read for who sent it


@dataclass(frozen=True, slots=True)
class SentSignal:
    """A signal as the history has it; `actor` is empty where its body is no Decision that names one."""

    number: int
    signal: str
    identity: str
    actor: str = ""
    decision_id: str = ""
    reason: str = ""

    @property
    def text(self) -> str:
        """In words, for history and timeline."""
        sender = self.identity or "a workflow"
        if not self.actor:
            return f"{self.signal}, from {sender}"
        return f"{self.signal} by {self.actor}{f': {self.reason}' if self.reason else ''}, sent by {sender}"


@dataclass(frozen=True, slots=True)
class Origins:
    """Which decisions of a run this console has sent: `here` has their ids with their actors. `identities`
    are the senders of what else the history has, `foreign` the numbers of these events."""

    here: frozenset[tuple[str, str]] = frozenset()
    identities: Mapping[tuple[str, str], str] = field(default_factory=dict)
    foreign: frozenset[int] = frozenset()

    def sender(self, decision_id: str, actor: str) -> str:
        """The identity that sent a decision. Empty: this console did. Where a workflow does not keep the id
        of a decision, any one of this actor counts."""
        key = (decision_id, actor)
        return "" if key in self.here else self.identities.get(key, UNKNOWN)


def _text(body: Any, name: str) -> str:
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, str) else ""


async def sent_signals(client: Client, events: Iterable[HistoryEvent]) -> dict[int, SentSignal]:
    """The signals among some events, by the number of the event. Never raises for a body."""
    found, budget = {}, Budget(largest=SIGNAL_BYTES)
    for event in events:
        if not event.HasField("workflow_execution_signaled_event_attributes"):
            continue
        attributes = event.workflow_execution_signaled_event_attributes
        [body] = await decode(client, attributes.input.payloads[:1], budget) or [None]
        said = {name: _text(body, name) for name in ("actor", "decision_id", "reason")}
        found[event.event_id] = SentSignal(
            event.event_id, attributes.signal_name, attributes.identity, **said
        )
    return found
