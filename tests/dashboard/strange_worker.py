"""A worker of somebody else: plain temporalio in a process of its own, none of our code, the JSON alone.

    python strange_worker.py ADDRESS NAMESPACE QUEUE

Its workflow answers every contract of docs/contracts.md, version 1, and takes every signal.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

CIRCUIT_STATE = SearchAttributeKey.for_keyword("CircuitState")
WAITING_FOR = SearchAttributeKey.for_keyword_list("WaitingFor")
WAIT = timedelta(hours=1)


def saga(secret: str) -> dict[str, Any]:
    """A nested saga and two steps side by side; one of them cannot be undone."""
    stuck = {"name": "refund", "activity_id": "charge/undo", "status": "stuck", "error": f"password={secret}"}
    return {
        "state": "stuck",
        "exposure": [{"minor": 31040, "currency": "EUR"}, {"minor": 2000, "currency": "CHF"}],
        "steps": [
            {"name": "book", "status": "done", "child_workflow_id": "booking/of strangers"},
            {"name": "charge", "status": "done", "group": "pay", "compensation": stuck},
            {"name": "reserve", "status": "done", "group": "pay"},
        ],
    }


@workflow.defn(name="Strange")
class Strange:
    """Everything at once: an approval, a batch, a stuck saga and a breaker. Ends when told `finish`."""

    @workflow.init
    def __init__(self, given: dict[str, Any]) -> None:
        secret = given.get("password", "")
        now = workflow.now()
        self.verdicts: dict[str, dict[str, Any]] = {}
        self.state = {"given": given, "nested": [{"API-KEY": secret}], "note": f"password: {secret}"}
        self.saga = saga(secret)
        self.progress: dict[str, Any] = {
            "total": 40, "done": 10, "failed": 1, "paused": False,
            "started_at": (now - timedelta(minutes=5)).isoformat(),
            "failed_items": [{"row": 17, "credit_card": secret}],
        }  # fmt: skip
        board = {"at": (now - timedelta(minutes=1)).isoformat(), "roles": ["board"], "reached": True}
        self.approval: dict[str, Any] = {
            "state": "pending", "subject": "A strange payout", "requester": "ada", "votes": [], "missing": 2,
            "policy": {"quorum": 2, "roles": ["approver"], "delegation": True}, "delegations": [],
            "deadline": (now + WAIT).isoformat(),
            "escalations": [board],
        }  # fmt: skip
        self.circuit: dict[str, Any] = {
            "state": "OPEN", "dependency": given.get("dependency", ""), "failure_count": 6, "threshold": 5,
            "calls": 20, "failures": 12, "failure_rate": 0.5, "minimum_calls": 10, "window_seconds": 300,
            "opened_times": 3, "opened_at": now.isoformat(), "last_error": f"api_key={secret}",
            "forced": None,
        }  # fmt: skip
        self.how = ""
        self.chain = workflow.info().first_execution_run_id

    @workflow.run
    async def run(self, given: dict[str, Any]) -> dict[str, Any]:
        workflow.upsert_search_attributes(
            [CIRCUIT_STATE.value_set("OPEN"), WAITING_FOR.value_set(["approval"])]
        )
        await workflow.wait_condition(lambda: bool(self.how))
        if self.how == "fail":
            raise ApplicationError(f"The gateway said password={given.get('password', '')}.")
        return {"ssn": given.get("password", ""), "done": True}

    def judge(self, decision: Any, detail: str, problem: str = "") -> bool:
        """Keep the verdict under the decision's id; False for what is known or refused."""
        body = decision if isinstance(decision, dict) else {}
        known = str(body.get("decision_id", ""))
        if known in self.verdicts:
            return False
        if body.get("chain") != self.chain:
            problem = "It was meant for another chain."
        self.verdicts[known] = {
            "decision_id": known, "outcome": "refused" if problem else "applied", "detail": problem or detail,
            "by": body.get("actor", ""), "actor": body.get("actor", ""), "at": workflow.now().isoformat(),
        }  # fmt: skip
        return not problem

    def vote(self, decision: Any, *, approve: bool) -> None:
        if self.judge(decision, "Counted."):
            held = next((d for d in self.approval["delegations"] if d["to"] == decision["actor"]), None)
            behalf = held["actor"] if held else ""
            self.approval["votes"].append({**decision, "approve": approve, "on_behalf_of": behalf})
            self.approval["missing"] -= 1
            if not approve or not self.approval["missing"]:
                self.approval["state"] = "approved" if approve else "rejected"

    @workflow.signal
    def approve(self, decision: Any = None) -> None:
        self.vote(decision, approve=True)

    @workflow.signal
    def reject(self, decision: Any = None) -> None:
        self.vote(decision, approve=False)

    @workflow.signal
    def withdraw(self, decision: Any = None) -> None:
        asked = decision["actor"] == self.approval["requester"]
        if self.judge(decision, "Taken back.", "" if asked else "Only ada asked."):
            self.approval["state"] = "withdrawn"

    @workflow.signal
    def delegate(self, decision: Any = None) -> None:
        if self.judge(decision, f"{decision['to']} votes instead."):
            self.approval["delegations"].append(
                {key: decision[key] for key in ("actor", "to", "reason", "at")}
            )

    @workflow.signal
    def cancel(self, decision: Any = None) -> None:
        self.judge(decision, "It stops.")

    @workflow.signal
    def resolve_compensation(self, decision: Any = None) -> None:
        if self.judge(decision, f"{decision['step']}: {decision['choice']}."):
            self.saga["state"] = "compensated"

    @workflow.signal
    def pause(self, decision: Any = None) -> None:
        if self.judge(decision, "It pauses."):
            self.progress["paused"] = True

    @workflow.signal
    def unpause(self, decision: Any = None) -> None:
        if self.judge(decision, "It goes on."):
            self.progress["paused"] = False

    def force(self, decision: Any, state: str) -> None:
        if self.judge(decision, f"Forced {state.lower()}."):
            self.circuit["state"] = state
            known = {key: decision[key] for key in ("reason", "until")}
            self.circuit["forced"] = {"state": state, "by": decision["actor"], **known}

    @workflow.signal
    def force_open(self, decision: Any = None) -> None:
        self.force(decision, "OPEN")

    @workflow.signal
    def force_close(self, decision: Any = None) -> None:
        self.force(decision, "CLOSED")

    @workflow.signal
    def release(self, decision: Any = None) -> None:
        if self.judge(
            decision, "Back to its own rule.", "" if self.circuit["forced"] else "It is not forced."
        ):
            self.circuit["forced"] = None

    @workflow.signal
    def probe(self, decision: Any = None) -> None:
        self.judge(decision, f"Probing with {decision['workflow_id'] or 'any'}.")

    @workflow.signal
    def finish(self, how: str) -> None:
        self.how = how

    @workflow.query
    def get_decision(self, decision_id: str) -> dict[str, Any]:
        return self.verdicts.get(decision_id, {"decision_id": decision_id, "outcome": "unknown"})

    @workflow.query
    def get_saga_status(self) -> dict[str, Any]:
        return self.saga

    @workflow.query
    def get_circuit_status(self) -> dict[str, Any]:
        return self.circuit

    @workflow.query
    def get_approval_status(self) -> dict[str, Any]:
        return self.approval

    @workflow.query
    def get_progress(self) -> dict[str, Any]:
        return self.progress

    @workflow.query
    def get_status(self) -> dict[str, Any]:
        return {"status": "running", "stage": "strange", "summary": "It does everything at once."}

    @workflow.query
    def get_state(self) -> dict[str, Any]:
        return self.state


async def main(address: str, namespace: str, queue: str) -> None:
    """Work until the process is ended."""
    client = await Client.connect(address, namespace=namespace)
    await Worker(client, task_queue=queue, workflows=[Strange]).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
