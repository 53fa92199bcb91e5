"""Workflows that decisions are tried on: one with the contracts, by hand, one of another team, and one whose
effect failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from tests.support import eventually
    from workers.client.connection import has_pollers


@workflow.defn(name="Decidable")
class Decidable:
    """Applies the first approve or reject, and ends when told `finish`; `roll` continues as new."""

    @workflow.init
    def __init__(self, book: dict[str, Any] | None = None) -> None:
        self.book: dict[str, Any] = book or {}
        self.by = next((v["by"] for v in self.book.values() if v["outcome"] == "applied"), "")
        self.next = ""

    @workflow.run
    async def run(self, book: dict[str, Any] | None = None) -> str:
        await workflow.wait_condition(lambda: bool(self.next))
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self.next == "roll":
            workflow.continue_as_new(self.book)
        return self.by

    def _take(self, decision: dict[str, Any]) -> None:
        if decision["decision_id"] in self.book:
            return
        outcome = "already_decided" if self.by else "refused" if "refuse" in decision["reason"] else "applied"
        if outcome == "applied":
            self.by = decision["actor"]
        self.book[decision["decision_id"]] = {
            "decision_id": decision["decision_id"],
            "outcome": outcome,
            "detail": f"{decision['actor']} as {','.join(decision['roles'])}: {decision['reason']}",
            "by": self.by,
            "at": decision["at"],
        }

    @workflow.signal
    def approve(self, decision: dict[str, Any]) -> None:
        self._take(decision)

    @workflow.signal
    def reject(self, decision: dict[str, Any]) -> None:
        self._take(decision)

    @workflow.signal
    def cancel(self, decision: dict[str, Any]) -> None:
        self._take(decision)

    @workflow.signal
    def go(self, how: str) -> None:
        self.next = how

    @workflow.query
    def get_decision(self, decision_id: str) -> dict[str, Any]:
        unknown = {"decision_id": decision_id, "outcome": "unknown"}
        return dict(self.book.get(decision_id, unknown))

    @workflow.query
    def get_approval_status(self) -> dict[str, Any]:
        return {
            "state": "approved" if self.by else "expired",
            "votes": [{"actor": self.by}] if self.by else [],
        }


@workflow.defn(name="Foreign")
class Foreign:
    """Knows `approve` and nothing of verdicts; counts how often it was told."""

    def __init__(self) -> None:
        self.count = 0

    @workflow.run
    async def run(self) -> None:
        await asyncio.Future()

    @workflow.signal
    def approve(self, decision: Any = None) -> None:
        self.count += 1

    @workflow.query
    def told(self) -> int:
        return self.count


@workflow.defn(name="Resolvable")
class Resolvable:
    """Keeps the decisions that `resolve` brings, and says of each what it was."""

    @workflow.init
    def __init__(self, answers: dict[str, Any]) -> None:
        self.decisions: dict[str, dict[str, Any]] = {}

    @workflow.run
    async def run(self, answers: dict[str, Any]) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def resolve(self, decision: dict[str, Any]) -> None:
        self.decisions[decision["decision_id"]] = decision

    @workflow.query
    def get_decision(self, decision_id: str) -> dict[str, Any]:
        if (found := self.decisions.get(decision_id)) is None:
            return {"decision_id": decision_id, "outcome": "unknown"}
        detail = f"{found['step']}: {found['choice']}, {found['evidence']}, says {found['actor']}."
        return {"decision_id": decision_id, "outcome": "applied", "detail": detail}


@asynccontextmanager
async def foreign_worker(client: Client, queue: str) -> AsyncIterator[None]:
    """A worker as another team would run it, with nothing of ours; the server knows that it polls."""
    async with Worker(client, task_queue=queue, workflows=[Decidable, Foreign]):
        await eventually(lambda: has_pollers(client, queue))
        yield
